//! By what this gateway believes callers: policies and certificate authorities, as they stood a moment ago.
//!
//! One task asks twin for them by version; authentication reads what it found and waits for nothing. Whatever lives by
//! a policy or an authority ends when that is gone: device connections are told by the task, everything else waits at
//! [`AccessWatch::ended`] or looks at each new view itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

pub use self::tags::TagCache;
pub use self::view::{AccessView, KnownPolicy};
pub use self::watcher::Watcher;
use crate::authenticate::CredentialId;

mod tags;
#[cfg(test)]
mod tests;
mod view;
mod watcher;

/// The newest view, and how old it is.
#[derive(Debug)]
pub struct AccessWatch {
    views: watch::Sender<Option<Arc<AccessView>>>,
    /// When it was last known to be the newest; the monotonic clock goes on while the process is stopped.
    known_at: Mutex<Option<Instant>>,
    stale_limit: Duration,
}

/// No view was read yet, or not for too long: who may do what cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale;

impl AccessWatch {
    /// Makes a watch that knows nothing; what it learns counts for `stale_limit`.
    pub fn new(stale_limit: Duration) -> Self {
        Self {
            views: watch::Sender::new(None),
            known_at: Mutex::new(None),
            stale_limit,
        }
    }

    /// The newest view.
    ///
    /// # Errors
    /// [`Stale`].
    pub fn current(&self) -> Result<Arc<AccessView>, Stale> {
        let known_at = self.known_at.lock().ok_or(Stale)?;
        if known_at.elapsed() > self.stale_limit {
            return Err(Stale);
        }
        self.views.borrow().clone().ok_or(Stale)
    }

    /// Tells of every new view, also while it is stale: what is there already goes on meanwhile.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<AccessView>>> {
        self.views.subscribe()
    }

    /// Waits for the first view.
    pub async fn known(&self) {
        let mut views = self.views.subscribe();
        // The sender lives as long as this.
        let _ = views.wait_for(Option::is_some).await;
    }

    /// Tells whether what lives by `credential` may go on, as far as is known.
    pub fn is_alive(&self, credential: CredentialId) -> bool {
        let view = self.views.borrow();
        view.as_ref().is_none_or(|view| view.is_alive(credential))
    }

    /// Waits until what lives by `credential` must end.
    ///
    /// # Cancellation
    /// Safe: it only waits.
    pub async fn ended(&self, credential: CredentialId) {
        if credential == CredentialId::OWN {
            return std::future::pending().await;
        }
        let mut views = self.views.subscribe();
        let is_over = |view: &Option<Arc<AccessView>>| {
            view.as_ref().is_some_and(|view| !view.is_alive(credential))
        };
        if views.wait_for(is_over).await.is_err() {
            // The sender lives as long as this.
            std::future::pending::<()>().await;
        }
    }

    fn version(&self) -> Option<u64> {
        self.views.borrow().as_ref().map(|view| view.version())
    }

    /// Notes that the view was still the newest when it was asked for at `asked_at`.
    fn confirm(&self, asked_at: Instant) {
        *self.known_at.lock() = Some(asked_at);
    }

    /// Takes a newer view; returns what was alive until now.
    fn take(&self, view: AccessView, asked_at: Instant) -> HashSet<CredentialId> {
        let view = Arc::new(view);
        let before = self.views.send_replace(Some(Arc::clone(&view)));
        self.confirm(asked_at);
        before.map_or_else(HashSet::new, |before| view.gone_since(&before))
    }
}
