//! The conformance suite: what every adapter of a store port must pass.
//!
//! An adapter instantiates it with a function that makes a fresh [`Subject`]; see
//! [`conformance_tests`](crate::conformance_tests).

pub mod given;
