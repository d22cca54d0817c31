//! Generated gRPC types.
//!
//! The Rust form of `proto`, whose comments are the documentation of record. No logic lives here.
//! `v1` is what the services say to each other: `downlink-rpc` converts it to and from the domain.
//! `api::v1` is what back-ends say to the hub: the gateway's gRPC door does the same for it.
//!
//! ```
//! use downlink_proto::v1::FindDeviceRequest;
//! let request = FindDeviceRequest {
//!     hub: "hub.example.net".to_owned(),
//!     name: None,
//! };
//! assert_eq!(request.hub, "hub.example.net");
//! ```

use std::fmt;

/// Package `downlink.v1`.
#[allow(
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    clippy::large_enum_variant,
    missing_docs,
    reason = "generated; the schema carries the documentation"
)]
pub mod v1 {
    tonic::include_proto!("downlink.v1");
}

/// What back-ends say to the hub.
pub mod api {
    /// Package `downlink.api.v1`.
    #[allow(
        clippy::pedantic,
        clippy::allow_attributes_without_reason,
        clippy::large_enum_variant,
        missing_docs,
        reason = "generated; the schema carries the documentation"
    )]
    pub mod v1 {
        tonic::include_proto!("downlink.api.v1");
    }
}

/// The schema of the public API in binary form, for server reflection.
pub const API_FILE_DESCRIPTOR_SET: &[u8] =
    include_bytes!(concat!(env!("OUT_DIR"), "/downlink.api.v1.bin"));

/// The schema of the peer services in binary form, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/downlink.v1.bin"));

impl fmt::Debug for v1::SymmetricKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKeys(..)")
    }
}

impl fmt::Debug for api::v1::SymmetricKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKeys(..)")
    }
}

impl fmt::Debug for v1::Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}
