//! Presence in Redis, against real servers.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod conformance;
mod fail_over;
mod failures;
mod leases;
mod refusals;
mod support;
mod takeover;
mod tls;
mod watches;
