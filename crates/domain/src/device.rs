//! Identities of devices and modules (registry.md §2).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use thiserror::Error;

use crate::caps;
use crate::code::ErrorCode;
use crate::id::{DeviceKey, GenerationId, HubName, IdentityName};
use crate::presence::DisconnectReason;
use crate::time::Timestamp;

pub use self::scope::{EDGE_MODULES, EDGE_OWNER, Place, edge_scope, parse_scope};

mod scope;
#[cfg(test)]
mod tests;

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
    /// Not at all: it never connects by itself. Only the system modules of an Edge device
    /// (registry.md §3).
    None,
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
    /// Whether it is connected, as the store last recorded; `false` for a new life.
    pub is_connected: bool,
    /// The model of IoT Plug and Play that it announced when it last connected, empty for none.
    pub model_id: String,
    /// Who looks after a module, at most 128 characters; `None` for devices (registry.md §3).
    pub managed_by: Option<String>,
    /// An Edge device's own scope, which its children name; of another device the scope of its
    /// parent. `None` for modules (registry.md §2.1).
    pub device_scope: Option<String>,
    /// Scopes of its parents: at most one for a device without children of its own, at most 64
    /// for an Edge device; empty for modules.
    pub parent_scopes: Vec<String>,
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
    /// Who looks after a module, at most 128 characters; says nothing of a device.
    pub managed_by: Option<String>,
    /// The scope of its parent; of an Edge device nothing or its own.
    pub device_scope: Option<String>,
    /// Scopes of an Edge device's parents, at most 64; says nothing of other devices, whose only
    /// parent is the one of `device_scope`.
    pub parent_scopes: Vec<String>,
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

/// A field of a [`DeviceSpec`] outside its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DeviceSpecError {
    /// The status reason is too long.
    #[error("the status reason has more than 128 characters")]
    StatusReason,
    /// A key is too short or too long.
    #[error("a symmetric key must have 16 to 64 bytes")]
    Key,
    /// A thumbprint is not the hexadecimal form of a SHA-1 or SHA-256 digest.
    #[error("a thumbprint must have 40 or 64 hexadecimal digits")]
    Thumbprint,
    /// The name of who looks after a module is too long.
    #[error("managedBy has more than 128 characters")]
    ManagedBy,
    /// A scope is not one of an Edge device.
    #[error("a scope must be one of an Edge device: ms-azure-iot-edge://<device id>-<generation>")]
    Scope,
    /// Too many parents.
    #[error("a device has at most 64 parent scopes")]
    ParentScopes,
}

impl DeviceSpecError {
    /// The code of the catalogue.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::StatusReason
            | Self::Key
            | Self::Thumbprint
            | Self::ManagedBy
            | Self::ParentScopes => ErrorCode::ArgumentInvalid,
            Self::Scope => ErrorCode::InvalidDeviceScope,
        }
    }
}

impl DeviceStatus {
    /// The word on the wire (registry.md §2.1).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }

    /// Reads the word of [`Self::as_str`] in any case.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Enabled, Self::Disabled]
            .into_iter()
            .find(|status| status.as_str().eq_ignore_ascii_case(word))
    }
}

impl IfMatch {
    /// Tells whether `etag` is one that the condition names; an absent condition names none.
    pub fn names(&self, etag: &str) -> bool {
        match self {
            Self::Absent => false,
            Self::Any => true,
            Self::Etag(named) => named == etag,
        }
    }
}

impl DeviceSpec {
    /// What is said of an enabled identity of which nothing but its proof is known.
    pub fn of(authentication: Authentication) -> Self {
        Self {
            status: DeviceStatus::Enabled,
            status_reason: None,
            authentication,
            is_edge: false,
            managed_by: None,
            device_scope: None,
            parent_scopes: Vec::new(),
        }
    }

    /// Checks lengths and alphabets (registry.md §2.1).
    ///
    /// # Errors
    /// [`DeviceSpecError`], the first field outside its rules.
    pub fn check(&self) -> Result<(), DeviceSpecError> {
        let reason_chars = self
            .status_reason
            .as_deref()
            .map_or(0, |r| r.chars().count());
        if reason_chars > caps::MAX_STATUS_REASON_CHARS {
            return Err(DeviceSpecError::StatusReason);
        }
        let managed_by_chars = self.managed_by.as_deref().map_or(0, |m| m.chars().count());
        if managed_by_chars > caps::MAX_MANAGED_BY_CHARS {
            return Err(DeviceSpecError::ManagedBy);
        }
        if self.parent_scopes.len() > caps::MAX_PARENT_SCOPES {
            return Err(DeviceSpecError::ParentScopes);
        }
        let mut scopes = self.device_scope.iter().chain(&self.parent_scopes);
        if !scopes.all(|scope| parse_scope(scope).is_some()) {
            return Err(DeviceSpecError::Scope);
        }
        match &self.authentication {
            Authentication::Sas(keys) => keys.check(),
            Authentication::SelfSigned { primary, secondary } => [primary, secondary]
                .into_iter()
                .flatten()
                .try_for_each(|thumbprint| check_thumbprint(thumbprint)),
            Authentication::CertificateAuthority | Authentication::None => Ok(()),
        }
    }
}

impl SymmetricKeys {
    fn check(&self) -> Result<(), DeviceSpecError> {
        let is_sized = |key: &Vec<u8>| caps::KEY_BYTES.contains(&key.len());
        if [&self.primary, &self.secondary].into_iter().all(is_sized) {
            Ok(())
        } else {
            Err(DeviceSpecError::Key)
        }
    }

    fn holds(&self, key: &[u8]) -> bool {
        self.primary == key || self.secondary == key
    }
}

impl Authentication {
    /// Tells whether everything that proves the identity under `self` still proves it under
    /// `next`.
    fn is_kept_by(&self, next: &Self) -> bool {
        match (self, next) {
            (Self::Sas(old), Self::Sas(new)) => {
                new.holds(&old.primary) && new.holds(&old.secondary)
            }
            (
                Self::SelfSigned { primary, secondary },
                Self::SelfSigned {
                    primary: new_primary,
                    secondary: new_secondary,
                },
            ) => [primary, secondary].into_iter().flatten().all(|old| {
                let is_old = |new: &String| new.eq_ignore_ascii_case(old);
                [new_primary, new_secondary]
                    .into_iter()
                    .flatten()
                    .any(is_old)
            }),
            (Self::CertificateAuthority, Self::CertificateAuthority) | (Self::None, Self::None) => {
                true
            }
            (
                Self::Sas(_) | Self::SelfSigned { .. } | Self::CertificateAuthority | Self::None,
                _,
            ) => false,
        }
    }
}

impl Device {
    /// The etag on the wire: base64 of the counter in decimal (registry.md §2.1).
    pub fn etag_text(&self) -> String {
        STANDARD.encode(self.etag.to_string())
    }

    /// The identity after a write of `spec`: the etag rises by one, the time of the status moves
    /// with the status.
    #[must_use]
    pub fn rewritten(&self, spec: DeviceSpec, now: Timestamp) -> Self {
        let status_updated_at = if spec.status == self.status {
            self.status_updated_at
        } else {
            now
        };
        let place = Place::of(&spec, &self.name, self.generation);
        Self {
            etag: self.etag + 1,
            status: spec.status,
            status_reason: spec.status_reason,
            status_updated_at,
            authentication: spec.authentication,
            is_edge: spec.is_edge,
            managed_by: spec.managed_by.filter(|_| self.name.module.is_some()),
            device_scope: place.device_scope,
            parent_scopes: place.parent_scopes,
            ..self.clone()
        }
    }

    /// Why connections made under `self` may not go on under `next`, `None` when they may
    /// (registry.md §2.2, auth.md §3.5).
    ///
    /// Which key signed a connection's token is not recorded, so the loss of one key ends
    /// connections made with the other too: their devices reconnect at once, which costs a
    /// handshake, while a connection signed by a lost key never goes on.
    pub fn find_revocation(&self, next: &Self) -> Option<DisconnectReason> {
        if self.key != next.key {
            return Some(DisconnectReason::Deleted);
        }
        if next.status == DeviceStatus::Disabled {
            return Some(DisconnectReason::Disabled);
        }
        let is_kept = self.authentication.is_kept_by(&next.authentication);
        (!is_kept).then_some(DisconnectReason::KeysChanged)
    }
}

fn check_thumbprint(thumbprint: &str) -> Result<(), DeviceSpecError> {
    let is_digest = matches!(thumbprint.len(), 40 | 64);
    if is_digest && thumbprint.bytes().all(|b| b.is_ascii_hexdigit()) {
        Ok(())
    } else {
        Err(DeviceSpecError::Thumbprint)
    }
}
