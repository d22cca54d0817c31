//! What devices say and hear over HTTPS: the parts of a request and of an answer that are the contract's own
//! (http-device.md), without I/O.
//!
//! Given headers, bodies and queries, the crate says what they mean, or that they mean nothing. Nothing in it reads a
//! socket, a clock or a registry; what it allocates is bounded by what it was given.
//!
//! ```
//! use downlink_http_device::property::{Name, System, from_headers};
//!
//! let headers = [("iothub-app-color", &b"red"[..]), ("IoTHub-MessageId", b"7"), ("accept", b"*/*")];
//! let properties = from_headers(headers, "/devices/dev-1/messages/events").unwrap();
//! assert_eq!(properties[0], (Name::Application("color".to_owned()), "red".to_owned()));
//! assert_eq!(properties[1], (Name::System(System::MessageId), "7".to_owned()));
//! assert_eq!(properties.len(), 2);
//! ```

pub mod batch;
pub mod delivery;
mod error;
pub mod lock;
pub mod property;
pub mod query;

pub use error::Malformed;
