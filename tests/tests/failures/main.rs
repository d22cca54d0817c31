//! What the split form survives: each test breaks something under traffic and counts at the end.
//!
//! One test at a time: they share real servers, and some of them break those.

#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod connections;
mod events;
mod order;
mod servers;
mod services;
mod support;
