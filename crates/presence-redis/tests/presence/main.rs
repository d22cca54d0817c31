//! Presence in Redis, against real servers.

mod conformance;
mod failures;
mod leases;
mod refusals;
mod support;
mod takeover;
mod watches;
