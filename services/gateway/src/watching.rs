//! Watching twins: who waits for a change, and what they are shown, whatever door they came through.

mod watcher;
mod watches;

pub(crate) use self::watcher::Watcher;
pub(crate) use self::watches::{Place, Watches};
