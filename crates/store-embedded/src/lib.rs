//! The store ports on one local SQLite file.
//!
//! One writer owns the file: every write goes through its bounded queue, and all writes that wait
//! when it is free become one transaction with one commit, so the disk is asked to sync once for
//! many callers. A write is answered after that commit. Reads go to a few connections of their
//! own and see every write that was answered before them.
//!
//! The all-in-one enters, and tests; services see the ports alone.
//!
//! ```
//! use downlink_ports::PolicyStore;
//! use downlink_runtime::Lifecycle;
//! use downlink_store_embedded::{Store, StoreOptions};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # let folder = tempfile::tempdir().unwrap();
//! let lifecycle = Lifecycle::new();
//! // The oldest scope drains last: the store outlives the parts that use it.
//! let scope = lifecycle.child("store");
//! let path = folder.path().join("hub.db");
//! let store = Store::open(&path, StoreOptions::default(), &scope).await.unwrap();
//! assert!(store.hubs().await.unwrap().is_empty());
//! store.close().await;
//! # });
//! ```

mod access_store;
mod connection_store;
mod device_registry;
mod error;
mod feedback_store;
mod fields;
mod job_store;
mod limits_store;
mod message_store;
mod open;
mod outbox;
mod policy_store;
mod relay;
mod rows;
mod session_store;
mod statements;
mod store;
mod twin_queries;
mod twin_store;
mod writer;

pub use error::OpenError;
pub use store::{Store, StoreOptions};
