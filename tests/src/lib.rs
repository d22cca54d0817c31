//! Tests across services: contract and end to end.
//!
//! [`split`] starts the hub as processes of their own on real servers; the tests of the SDKs and
//! those of failures stand on it.

pub mod split;
pub mod traffic;
pub mod wire;
