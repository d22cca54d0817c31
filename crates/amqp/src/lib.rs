//! AMQP 1.0 codec and server engine, without I/O.
//!
//! This room turns bytes into typed values and back, and holds the connection, session and link
//! machines of one server-side connection. It touches no socket, starts no task and reads no
//! clock: bytes and the present instant come in, bytes and [`engine::Event`]s go out. Only the
//! gateway's AMQP door (and tests) may enter.
//!
//! What is on the wire follows the OASIS standard "AMQP 1.0"; what the Azure SDKs need beyond it
//! is cited as `amqp.md` with its paragraph.
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! use downlink_amqp::engine::{Engine, Options};
//!
//! let now = Instant::now();
//! let mut engine = Engine::new(Arc::new(Options::default()), now);
//! engine.receive(b"AMQP\x00\x01\x00\x00", now);
//! assert_eq!(engine.output(), b"AMQP\x00\x01\x00\x00");
//! ```
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss
    )
)]

pub mod cbs;
pub mod engine;
pub mod frame;
pub mod message;
pub mod performative;
pub mod sasl;
pub mod types;

pub use types::DecodeError;
