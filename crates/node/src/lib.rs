//! What the processes of the services have in common: command line, adapters, peers, readiness.
//!
//! The one room that knows every adapter by name: it opens those that the configuration chooses
//! and hands them out as ports. Programs enter: `downlink` and the services' own. It imports no
//! service, so that a service's program can stand on it.

pub mod certificate;
pub mod cli;
pub mod doors;
pub mod events;
mod ground;
pub mod hub;
mod issuers;
pub mod peers;
mod presence;
pub mod readiness;
mod run;
pub mod stores;

pub use cli::{ServiceArgs, Settings};
pub use ground::Ground;
pub use issuers::{Issuers, open_issuers};
pub use presence::{Presence, open_presence};
pub use run::{run_process, run_until_stopped};
pub use stores::{Stores, migrate_store, open_stores};
