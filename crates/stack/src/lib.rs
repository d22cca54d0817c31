//! Real servers on this machine: Postgres, `PgBouncer`, Redis and Apache Kafka, for tests and for
//! the local stack.
//!
//! Adapter tests and `xtask` may enter; no product code does. Nothing but the standard library is
//! used, so that `xtask` stays buildable on a fresh machine.
//!
//! Servers come in two forms. An *owned* server ([`Postgres`], [`Redis`], [`Kafka`], …) lives in a
//! folder of its own on free loopback ports and is gone, folder and all, when its owner is, even if
//! the owner was killed: a small shell stands above it and ends it when the pipe from the owner
//! closes. A *staying* server ([`staying`]) outlives the program that started it, and is noted
//! in a state file so that exactly it can be ended later.
//!
//! ```no_run
//! let postgres = downlink_stack::Postgres::shared();
//! let url = postgres.create_database();
//! assert!(url.starts_with("postgres://"));
//! ```

mod error;
mod folder;
mod kafka;
mod machine;
mod owned;
mod pgbouncer;
mod ports;
mod postgres;
mod redis;
mod signal;
pub mod staying;
mod waiting;

pub use error::StackError;
pub use kafka::Kafka;
pub use owned::{Program, Supervised};
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use redis::{Redis, RedisCluster, RedisSentinel};
pub use signal::Signal;
