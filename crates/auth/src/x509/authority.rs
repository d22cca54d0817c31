//! Certificates of authorities, as they are registered.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use webpki::anchor_from_trusted_cert;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::path::may_sign;
use super::{Certificate, CertificateError, MAX_CERTIFICATE_BYTES, Thumbprints};

/// Longest text of a certificate: base64 of PEM, which is base64 of DER.
pub const MAX_CERTIFICATE_TEXT_BYTES: usize = 32 * 1024;
/// Longest subject that is told of, in bytes.
const MAX_SUBJECT_BYTES: usize = 1024;

/// What the certificate of an authority says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityCertificate {
    /// The certificate.
    pub der: Vec<u8>,
    /// Its subject as one line without control characters, at most 1,024 bytes; for people, never
    /// decided by.
    pub subject: String,
    /// SHA-256 of the DER in upper-case hexadecimal.
    pub thumbprint: String,
    /// First second of its life.
    pub not_before_seconds: i64,
    /// Last second of its life.
    pub not_after_seconds: i64,
}

impl AuthorityCertificate {
    /// Reads the certificate of an authority, which may stand under another one; its dates are
    /// told, not judged.
    ///
    /// # Errors
    /// [`CertificateError::TooLarge`], [`CertificateError::Unreadable`],
    /// [`CertificateError::NotAnAuthority`] for one that says not, or not at all, that it may sign
    /// others, and [`CertificateError::Form`] for one on which no path could end.
    pub fn read(der: &[u8]) -> Result<Self, CertificateError> {
        let certificate = Certificate::parse(der)?;
        let unreadable = CertificateError::Unreadable;
        let (_, deep) = X509Certificate::from_der(der).map_err(|_| unreadable)?;
        let constraints = deep.basic_constraints().map_err(|_| unreadable)?;
        if !(constraints.is_some_and(|constraints| constraints.value.ca) && may_sign(&deep)) {
            return Err(CertificateError::NotAnAuthority);
        }
        let (not_before_seconds, not_after_seconds) = (
            certificate.not_before_seconds(),
            certificate.not_after_seconds(),
        );
        if anchor_from_trusted_cert(&CertificateDer::from(der)).is_err()
            || not_before_seconds > not_after_seconds
        {
            return Err(CertificateError::Form);
        }
        Ok(Self {
            der: der.to_vec(),
            subject: to_line(&deep.subject().to_string()),
            thumbprint: Thumbprints::of(der).sha256_hex(),
            not_before_seconds,
            not_after_seconds,
        })
    }
}

fn to_line(subject: &str) -> String {
    let end = subject.floor_char_boundary(MAX_SUBJECT_BYTES);
    let is_plain = |c: char| !c.is_control();
    let chars = subject[..end].chars();
    chars.map(|c| if is_plain(c) { c } else { ' ' }).collect()
}

/// Takes one certificate out of a text: PEM, or base64 of DER, or base64 of PEM, all of which
/// tools produce.
///
/// # Errors
/// [`CertificateError::TooLarge`] or [`CertificateError::Text`]; what the certificate itself holds
/// is not looked at.
pub fn decode_certificate(text: &str) -> Result<Vec<u8>, CertificateError> {
    if text.len() > MAX_CERTIFICATE_TEXT_BYTES {
        return Err(CertificateError::TooLarge);
    }
    let der = if let Some(der) = from_pem(text.as_bytes())? {
        der
    } else {
        let is_space = |byte: &u8| byte.is_ascii_whitespace();
        let compact: Vec<u8> = text.bytes().filter(|byte| !is_space(byte)).collect();
        let decoded = STANDARD.decode(compact);
        let decoded = decoded.map_err(|_| CertificateError::Text)?;
        from_pem(&decoded)?.unwrap_or(decoded)
    };
    match der.len() {
        0 => Err(CertificateError::Text),
        1..=MAX_CERTIFICATE_BYTES => Ok(der),
        _ => Err(CertificateError::TooLarge),
    }
}

/// Reads PEM with exactly one certificate; nothing when it is no PEM.
fn from_pem(text: &[u8]) -> Result<Option<Vec<u8>>, CertificateError> {
    const BEGIN: &[u8] = b"-----BEGIN ";
    if !text.windows(BEGIN.len()).any(|window| window == BEGIN) {
        return Ok(None);
    }
    let mut found = CertificateDer::pem_slice_iter(text);
    match (found.next(), found.next()) {
        (Some(Ok(der)), None) => Ok(Some(der.to_vec())),
        _ => Err(CertificateError::Text),
    }
}
