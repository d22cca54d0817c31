//! Certificate authorities whose devices a hub believes, once their owner has proved that they
//! hold the authority's key (auth.md §5).
//!
//! Certificates are opaque bytes here; whoever reads them fills in what they say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use thiserror::Error;

use crate::Timestamp;

/// Most authorities of a hub (errors-limits.md §5.2).
pub const MAX_AUTHORITIES: usize = 25;
/// Longest name of an authority, in characters.
pub const MAX_AUTHORITY_NAME_CHARS: usize = 64;
/// Largest certificate, in bytes of DER.
pub const MAX_CERTIFICATE_BYTES: usize = 16 * 1024;
/// Longest text of a subject, in bytes; the rest is cut off by whoever reads the certificate.
pub const MAX_SUBJECT_BYTES: usize = 4 * 1024;
/// Length of the code that a proof of possession is asked with, in upper-case hexadecimal digits.
pub const VERIFICATION_CODE_CHARS: usize = 48;
/// Length of a thumbprint, in upper-case hexadecimal digits.
pub const THUMBPRINT_CHARS: usize = 64;

/// A registered authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateAuthority {
    /// Its name in the hub: 1–64 letters, digits, `-`, `.` and `_`.
    pub name: String,
    /// Its certificate, DER, at most [`MAX_CERTIFICATE_BYTES`].
    pub certificate: Bytes,
    /// What the certificate says, at most [`MAX_SUBJECT_BYTES`]; told to administrators, never
    /// decided by.
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

/// A field of an authority outside its form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum AuthorityError {
    /// The name.
    #[error(transparent)]
    Name(#[from] AuthorityNameError),
    /// There is no certificate, or one above [`MAX_CERTIFICATE_BYTES`].
    #[error("a certificate must have 1 byte to 16 KiB")]
    Certificate,
    /// The subject is too long, or holds the character U+0000.
    #[error("a subject must have at most 4 KiB and no NUL")]
    Subject,
    /// The thumbprint is not [`THUMBPRINT_CHARS`] upper-case hexadecimal digits.
    #[error("a thumbprint must have 64 upper-case hexadecimal digits")]
    Thumbprint,
    /// The code is not [`VERIFICATION_CODE_CHARS`] upper-case hexadecimal digits.
    #[error("a verification code must have 48 upper-case hexadecimal digits")]
    Code,
}

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

fn is_upper_hex(text: &str, length: usize) -> bool {
    let is_digit = |b: u8| b.is_ascii_digit() || (b'A'..=b'F').contains(&b);
    text.len() == length && text.bytes().all(is_digit)
}

impl CertificateAuthority {
    /// Checks lengths and alphabets. What the certificate says is for those who can read it.
    ///
    /// # Errors
    /// [`AuthorityError`], the first field outside its form.
    pub fn check(&self) -> Result<(), AuthorityError> {
        check_authority_name(&self.name)?;
        if !(1..=MAX_CERTIFICATE_BYTES).contains(&self.certificate.len()) {
            return Err(AuthorityError::Certificate);
        }
        if self.subject.len() > MAX_SUBJECT_BYTES || self.subject.contains('\0') {
            return Err(AuthorityError::Subject);
        }
        if !is_upper_hex(&self.thumbprint, THUMBPRINT_CHARS) {
            return Err(AuthorityError::Thumbprint);
        }
        match &self.possession {
            Possession::Challenged { code } if !is_upper_hex(code, VERIFICATION_CODE_CHARS) => {
                Err(AuthorityError::Code)
            }
            Possession::Unverified | Possession::Challenged { .. } | Possession::Verified => Ok(()),
        }
    }

    /// The etag on the wire: base64 of the counter in decimal, as that of an identity.
    pub fn etag_text(&self) -> String {
        STANDARD.encode(self.etag.to_string())
    }

    /// Tells whether devices whose chains end here are believed at `now`.
    pub fn is_trusted(&self, now: Timestamp) -> bool {
        self.possession == Possession::Verified && (self.not_before..=self.not_after).contains(&now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn authority() -> CertificateAuthority {
        let noon = Timestamp::from_millis(1_767_614_400_000);
        CertificateAuthority {
            name: "plant-7".to_owned(),
            certificate: Bytes::from_static(b"der"),
            subject: "CN=Plant 7".to_owned(),
            thumbprint: "0A".repeat(32),
            not_before: noon,
            not_after: noon + Duration::from_hours(1),
            possession: Possession::Verified,
            etag: 1,
            created_at: noon,
            updated_at: noon,
        }
    }

    #[test]
    fn an_authority_is_trusted_once_it_is_proved_and_while_its_dates_hold() {
        let proved = authority();
        let (first, last) = (proved.not_before, proved.not_after);
        let second = Duration::from_secs(1);
        assert!(proved.is_trusted(first) && proved.is_trusted(last));
        assert!(!proved.is_trusted(first - second) && !proved.is_trusted(last + second));
        for possession in [
            Possession::Unverified,
            Possession::Challenged {
                code: "0".repeat(48),
            },
        ] {
            let unproved = CertificateAuthority {
                possession,
                ..authority()
            };
            assert_eq!(unproved.check(), Ok(()));
            assert!(!unproved.is_trusted(first));
        }
    }

    #[test]
    fn what_is_outside_its_form_is_refused() {
        let with = |change: fn(&mut CertificateAuthority)| {
            let mut changed = authority();
            change(&mut changed);
            changed.check()
        };
        assert_eq!(authority().check(), Ok(()));
        assert_eq!(
            with(|it| it.name = "a b".to_owned()),
            Err(AuthorityError::Name(AuthorityNameError))
        );
        let certificate = Err(AuthorityError::Certificate);
        assert_eq!(with(|it| it.certificate = Bytes::new()), certificate);
        assert_eq!(
            with(|it| it.certificate = vec![0; MAX_CERTIFICATE_BYTES + 1].into()),
            certificate
        );
        let subject = Err(AuthorityError::Subject);
        assert_eq!(with(|it| it.subject = "a\0".to_owned()), subject);
        assert_eq!(
            with(|it| it.subject = "a".repeat(MAX_SUBJECT_BYTES + 1)),
            subject
        );
        let thumbprint = Err(AuthorityError::Thumbprint);
        assert_eq!(with(|it| it.thumbprint = "0a".repeat(32)), thumbprint);
        assert_eq!(with(|it| it.thumbprint = "0A".repeat(20)), thumbprint);
        assert_eq!(
            with(|it| it.possession = Possession::Challenged {
                code: String::new()
            }),
            Err(AuthorityError::Code)
        );
    }
}
