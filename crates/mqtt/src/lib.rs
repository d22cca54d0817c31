//! MQTT 3.1.1 for devices: codec, topic grammar and the session machine, without I/O and without a clock.
//!
//! The gateway feeds bytes in and performs what comes out; tests and simulated devices use the client half
//! of the codec. Nothing here waits, logs, reads time or knows of storage. The wire contract is `mqtt.md`.
//!
//! ```
//! use std::time::Duration;
//!
//! use downlink_mqtt::packet::{ClientPacket, Connect, FrameReader};
//! use downlink_mqtt::session::{Action, AwaitingConnect, Session, SessionOptions};
//!
//! let mut wire = bytes::BytesMut::new();
//! let connect = Connect::new("dev1").with_username("hub.test/dev1/?api-version=2021-04-12");
//! ClientPacket::from(connect).encode(&mut wire)?;
//! ClientPacket::Pingreq.encode(&mut wire)?;
//!
//! let mut frames = FrameReader::new(downlink_mqtt::limits::MAX_CONNECT_PACKET_BYTES);
//! let mut chunk = &wire[..];
//! let first = frames.next(&mut chunk)?.expect("the whole CONNECT is there");
//! let request = AwaitingConnect.on_packet(first.into_client_packet()?).expect("a valid CONNECT");
//! assert_eq!(request.identity.device_id(), "dev1");
//!
//! let options = SessionOptions::new(request.keep_alive);
//! let mut session = Session::<u64>::new(request.identity, options, Duration::ZERO);
//! let second = frames.next(&mut chunk)?.expect("so is the PINGREQ").into_client_packet()?;
//! assert!(matches!(session.on_packet(second, Duration::ZERO), Ok(Some(Action::Ping))));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

pub mod cloud_to_device;
pub mod error;
pub mod filter;
pub mod identity;
pub mod limits;
pub mod packet;
pub mod property_bag;
pub mod session;
pub mod topic;
pub mod username;

pub use error::{DecodeError, EncodeError, Violation};
