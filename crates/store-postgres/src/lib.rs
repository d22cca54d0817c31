//! The store ports on Postgres, 15 or later.
//!
//! Any number of processes share one database. A statement works on the rows of many devices at
//! once, by arrays; what needs a decision and a write is one statement that repeats the guard of
//! the domain's transition. The plans of these statements are fixed by settings of the connection
//! ([`PostgresOptions`]), so that statistics of a churned table decide nothing.
//!
//! Wiring enters, and tests; services see the ports alone.
//!
//! ```no_run
//! use downlink_runtime::Lifecycle;
//! use downlink_store_postgres::{PostgresOptions, PostgresStore};
//!
//! # async fn open() -> Result<(), downlink_store_postgres::OpenError> {
//! let lifecycle = Lifecycle::new();
//! let options = PostgresOptions {
//!     url: "postgres://downlink@localhost/downlink".to_owned(),
//!     ..PostgresOptions::default()
//! };
//! // The oldest scope drains last: the store outlives the parts that use it.
//! let store = PostgresStore::open(options, &lifecycle.child("store")).await?;
//! # Ok(())
//! # }
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
mod options;
mod outbox;
#[cfg(test)]
mod plans;
mod policy_store;
mod relay;
mod retry;
mod schema;
mod session;
mod session_store;
mod store;
mod twin_queries;
mod twin_store;

pub use error::OpenError;
pub use options::{Pooler, PostgresOptions};
pub use schema::migrate;
pub use store::PostgresStore;
