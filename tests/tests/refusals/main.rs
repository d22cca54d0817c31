//! Who is refused: every operation of every door, against every kind of credential without the
//! right to it, on the real program.
//!
//! What is refused shows in the metrics and in the audit, and no secret shows there.

#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

mod audit;
mod bearer;
mod certificates;
mod credentials;
mod devices;
mod hub;
mod operations;
mod rights;
