//! Pure rules of the hub: identities, cloud-to-device messages, direct methods, twins, presence.
//!
//! Nothing here waits, reads a clock, allocates an id or knows a wire format; `now` and ids are
//! arguments. `serde_json::Value` is the value model of twins (their contract *is* JSON), not a
//! serializer. Every other room may depend on this one; this one depends on none.
//!
//! ```
//! use downlink_domain::id::DeviceId;
//! let id: DeviceId = "boiler-7".parse().expect("a valid id");
//! assert_eq!(id.as_str(), "boiler-7");
//! ```

pub mod access;
pub mod authority;
pub mod caps;
pub mod code;
pub mod device;
pub mod event;
pub mod id;
pub mod job;
pub mod limits;
pub mod message;
pub mod method;
pub mod policy;
pub mod presence;
pub mod query;
pub mod time;
pub mod twin;

pub use code::ErrorCode;
pub use time::Timestamp;
