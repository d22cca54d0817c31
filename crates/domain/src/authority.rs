//! Certificate authorities whose devices a hub believes, once their owner has proved that they
//! hold the authority's key (auth.md §5).
//!
//! Certificates are opaque bytes here; whoever reads them fills in what they say.

use bytes::Bytes;
use thiserror::Error;

use crate::Timestamp;

/// Most authorities of a hub (errors-limits.md §5.2).
pub const MAX_AUTHORITIES: usize = 25;
/// Longest name of an authority, in characters.
pub const MAX_AUTHORITY_NAME_CHARS: usize = 64;
/// Largest certificate, in bytes of DER.
pub const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;

/// A registered authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateAuthority {
    /// Its name in the hub: 1–64 letters, digits, `-`, `.` and `_`.
    pub name: String,
    /// Its certificate, DER, at most [`MAX_CERTIFICATE_BYTES`].
    pub certificate: Bytes,
    /// What the certificate says; told to administrators, never decided by.
    pub subject: String,
    /// SHA-256 of the DER in upper-case hexadecimal; unique in the hub.
    pub thumbprint: String,
    /// First instant of its life.
    pub not_before: Timestamp,
    /// Last instant of its life.
    pub not_after: Timestamp,
    /// How far its owner has proved to hold its key.
    pub possession: Possession,
    /// Rises by one with every write; 1 at first.
    pub etag: u64,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was written last.
    pub updated_at: Timestamp,
}

/// Whether the owner of an authority has proved to hold its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Possession {
    /// Nothing was asked for yet.
    Unverified,
    /// A certificate is awaited whose subject's common name is this code: 48 upper-case
    /// hexadecimal digits.
    Challenged {
        /// The code.
        code: String,
    },
    /// It is proved; only now devices are believed.
    Verified,
}

/// An authority's name outside its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the name of an authority must have 1 to 64 letters, digits, '-', '.' or '_'")]
pub struct AuthorityNameError;

/// Checks the name of an authority.
///
/// # Errors
/// [`AuthorityNameError`].
pub fn check_authority_name(name: &str) -> Result<(), AuthorityNameError> {
    let is_sized = (1..=MAX_AUTHORITY_NAME_CHARS).contains(&name.len());
    let is_allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if is_sized && name.bytes().all(is_allowed) {
        Ok(())
    } else {
        Err(AuthorityNameError)
    }
}

impl CertificateAuthority {
    /// Tells whether devices whose chains end here are believed at `now`.
    pub fn is_trusted(&self, now: Timestamp) -> bool {
        self.possession == Possession::Verified && (self.not_before..=self.not_after).contains(&now)
    }
}
