//! Credentials and permissions, verified as functions of (credential, now).
//!
//! Nothing here waits, reads a clock, or knows a socket or a store: whoever holds the identity's keys passes them in,
//! with the time, and gets a verdict. The gateway may enter, and tools that make tokens or connection strings.
//!
//! Times are whole seconds since the Unix epoch, as they stand in tokens.
//!
//! ```
//! use downlink_auth::{Resource, SasToken, sign};
//!
//! let key = [7; 32];
//! let resource = Resource::Device { device_id: "dev-1" };
//! let token = sign(&resource.uri("hub.example.net"), &key, 1_893_456_000, None);
//!
//! let token = SasToken::parse(&token).unwrap();
//! let keys: [&[u8]; 2] = [&key, &[9; 32]];
//! assert_eq!(token.verify(&["hub.example.net"], &resource, &keys, 1_893_455_000), Ok(0));
//! ```

pub mod chain;
pub mod connection_string;
pub mod fingerprint;
pub mod key;
pub mod sas;
pub mod sasl_plain;
pub mod x509;

pub use chain::ClientChain;
pub use connection_string::{
    ConnectionStringError, DeviceConnectionString, DeviceCredential, PolicyConnectionString,
};
pub use fingerprint::fingerprint;
pub use key::{KeyError, SymmetricKey};
pub use sas::{
    AuthFailure, MAX_CLOCK_SKEW_SECONDS, MAX_TOKEN_BYTES, Resource, SasError, SasToken, TokenScope,
    sign,
};
pub use sasl_plain::PlainUser;
pub use x509::CertificateError;
