//! Certificates of devices and of the authorities above them, judged as functions of
//! (chain, registered facts, now) (auth.md §5).
//!
//! The handshake has proved that the client holds the key of the first certificate. Here it is
//! told whose it is: by its thumbprint, or by a path to a registered authority and the common name
//! of its subject. There are no revocation lists: an identity is disabled, or an authority removed.
//!
//! Work is bounded whatever a client sends: certificates beyond [`MAX_CERTIFICATE_BYTES`] are not
//! read, of those above the client's own at most [`MAX_INTERMEDIATES`] are, two of one subject at
//! the most, and no more than 100 signatures are checked for one chain.

mod authority;
mod certificate;
mod error;
mod path;
mod possession;
#[cfg(test)]
mod tests;
mod thumbprint;

pub use self::authority::{AuthorityCertificate, MAX_CERTIFICATE_TEXT_BYTES, decode_certificate};
pub use self::certificate::Certificate;
pub use self::error::CertificateError;
pub use self::path::{Anchored, TrustedAuthority, verify_path};
pub use self::possession::prove_possession;
pub use self::thumbprint::{Thumbprints, verify_thumbprint};

/// Largest certificate that is read, in bytes of DER.
pub const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;

/// Certificates between a client's own and an authority that are looked at.
pub const MAX_INTERMEDIATES: usize = 7;
