//! Identities of devices and modules (registry.md §2).

use std::fmt;

use crate::id::{DeviceKey, GenerationId, HubName, IdentityName};
use crate::time::Timestamp;

/// Whether an identity may connect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeviceStatus {
    /// May connect.
    #[default]
    Enabled,
    /// May not; live connections are closed (registry.md §2.2).
    Disabled,
}

/// Primary and secondary key, raw bytes, each 16–64 (auth.md §1).
#[derive(Clone, PartialEq, Eq)]
pub struct SymmetricKeys {
    /// First key.
    pub primary: Vec<u8>,
    /// Second key.
    pub secondary: Vec<u8>,
}

impl fmt::Debug for SymmetricKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKeys(..)")
    }
}

/// How an identity proves itself, exactly one way at a time (auth.md §1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// Tokens signed by one of two keys.
    Sas(SymmetricKeys),
    /// A certificate with one of two thumbprints, hex as given.
    SelfSigned {
        /// First thumbprint.
        primary: Option<String>,
        /// Second thumbprint.
        secondary: Option<String>,
    },
    /// A certificate that chains to a registered authority.
    CertificateAuthority,
}

/// A registered device or module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Internal key of this life of the identity.
    pub key: DeviceKey,
    /// The tenant.
    pub hub: HubName,
    /// Its name.
    pub name: IdentityName,
    /// Tells this life from others of the same name.
    pub generation: GenerationId,
    /// Rises with every write of the identity.
    pub etag: u64,
    /// Whether it may connect.
    pub status: DeviceStatus,
    /// Free text, at most 128 characters.
    pub status_reason: Option<String>,
    /// When `status` last changed, [`Timestamp::UNSET`] when never.
    pub status_updated_at: Timestamp,
    /// How it proves itself.
    pub authentication: Authentication,
    /// Whether it is an Edge gateway.
    pub is_edge: bool,
    /// When it last connected or disconnected, [`Timestamp::UNSET`] when never.
    pub connection_state_updated_at: Timestamp,
    /// When it last connected, sent or received, [`Timestamp::UNSET`] when never.
    pub last_activity_at: Timestamp,
}

/// What a writer may say about an identity; a write replaces all of it (registry.md §2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceSpec {
    /// Whether it may connect.
    pub status: DeviceStatus,
    /// Free text, at most 128 characters.
    pub status_reason: Option<String>,
    /// How it proves itself.
    pub authentication: Authentication,
    /// Whether it is an Edge gateway.
    pub is_edge: bool,
}

/// Condition of a write, from `If-Match` (registry.md §0.3, twins.md §4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IfMatch {
    /// No header, or an empty one.
    Absent,
    /// `*` in either form.
    Any,
    /// One etag, without quotes.
    Etag(String),
}
