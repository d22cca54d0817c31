//! Thumbprints: digests of a whole certificate (auth.md §5, `selfSigned`).

use std::fmt::Write as _;

use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::{Certificate, CertificateError, MAX_CERTIFICATE_BYTES};
use crate::chain::ClientChain;

/// Both thumbprints of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbprints {
    sha1: [u8; 20],
    sha256: [u8; 32],
}

impl Thumbprints {
    /// Digests a certificate in DER.
    pub fn of(der: &[u8]) -> Self {
        Self {
            sha1: Sha1::digest(der).into(),
            sha256: Sha256::digest(der).into(),
        }
    }

    /// Tells whether `registered` is one of them: 40 or 64 hexadecimal digits in any case, with
    /// `:` or spaces between them. Both are public, so time may tell how far they agree.
    pub fn match_registered(&self, registered: &str) -> bool {
        let is_separator = |byte: &u8| matches!(byte, b':' | b' ');
        let digits = || registered.bytes().filter(|byte| !is_separator(byte));
        let expected: &[u8] = match digits().count() {
            40 => &self.sha1,
            64 => &self.sha256,
            _ => return false,
        };
        let nibbles = expected.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        digits()
            .zip(nibbles)
            .all(|(digit, nibble)| char::from(digit).to_digit(16) == Some(u32::from(nibble)))
    }

    /// SHA-1 in upper-case hexadecimal.
    pub fn sha1_hex(&self) -> String {
        to_hex(&self.sha1)
    }

    /// SHA-256 in upper-case hexadecimal.
    pub fn sha256_hex(&self) -> String {
        to_hex(&self.sha256)
    }
}

fn to_hex(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02X}");
    }
    hex
}

/// Checks a client against the registered thumbprints of the identity it claims to be, and returns
/// the last second of its certificate's life. What it sent above its own certificate, and what its
/// subject says, counts for nothing.
///
/// # Errors
/// [`CertificateError::TooLarge`], [`CertificateError::Thumbprint`], or, for the registered
/// certificate itself, [`CertificateError::Unreadable`], [`CertificateError::NotYetValid`] or
/// [`CertificateError::Expired`].
pub fn verify_thumbprint(
    chain: &ClientChain,
    registered: [Option<&str>; 2],
    now_seconds: i64,
) -> Result<i64, CertificateError> {
    let der = chain.leaf();
    if der.len() > MAX_CERTIFICATE_BYTES {
        return Err(CertificateError::TooLarge);
    }
    let thumbprints = Thumbprints::of(der);
    let is_registered = registered
        .into_iter()
        .flatten()
        .any(|registered| thumbprints.match_registered(registered));
    if !is_registered {
        return Err(CertificateError::Thumbprint);
    }
    let certificate = Certificate::parse(der)?;
    certificate.check_dates(now_seconds)?;
    Ok(certificate.not_after_seconds())
}
