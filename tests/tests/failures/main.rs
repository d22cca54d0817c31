//! What the split form survives: each test breaks something under traffic and counts at the end.
//!
//! One test at a time: they share real servers, and some of them break those.

mod order;
mod servers;
mod services;
mod support;
