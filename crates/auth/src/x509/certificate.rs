//! One certificate, as far as the hub reads it itself: dates and subject.

use x509_parser::asn1_rs::Tag;
use x509_parser::certificate::{X509Certificate, X509CertificateParser};
use x509_parser::nom::Parser as _;

use super::{CertificateError, MAX_CERTIFICATE_BYTES};

/// A certificate of any version whose extensions nobody has looked at; old and odd ones are read
/// alike, since a registered thumbprint is enough to believe them.
pub struct Certificate<'a> {
    inner: X509Certificate<'a>,
}

impl<'a> Certificate<'a> {
    /// Reads a certificate in DER, and nothing behind it.
    ///
    /// # Errors
    /// [`CertificateError::TooLarge`] or [`CertificateError::Unreadable`].
    pub fn parse(der: &'a [u8]) -> Result<Self, CertificateError> {
        if der.len() > MAX_CERTIFICATE_BYTES {
            return Err(CertificateError::TooLarge);
        }
        let mut parser = X509CertificateParser::new().with_deep_parse_extensions(false);
        match parser.parse(der) {
            Ok(([], inner)) => Ok(Self { inner }),
            Ok(_) | Err(_) => Err(CertificateError::Unreadable),
        }
    }

    /// First second of its life.
    pub fn not_before_seconds(&self) -> i64 {
        self.inner.validity().not_before.timestamp()
    }

    /// Last second of its life.
    pub fn not_after_seconds(&self) -> i64 {
        self.inner.validity().not_after.timestamp()
    }

    /// Checks that it lives at `now_seconds`; no skew is granted, as nowhere with certificates.
    ///
    /// # Errors
    /// [`CertificateError::NotYetValid`] or [`CertificateError::Expired`].
    pub fn check_dates(&self, now_seconds: i64) -> Result<(), CertificateError> {
        if now_seconds < self.not_before_seconds() {
            Err(CertificateError::NotYetValid)
        } else if now_seconds > self.not_after_seconds() {
            Err(CertificateError::Expired)
        } else {
            Ok(())
        }
    }

    /// The one common name of the subject.
    ///
    /// Subjects with several are refused rather than read from one end: whoever signed it may have
    /// read it from the other. So are alphabets in which one name has several forms (T.61, BMP).
    ///
    /// # Errors
    /// [`CertificateError::NoCommonName`], [`CertificateError::SeveralCommonNames`] or
    /// [`CertificateError::CommonNameAlphabet`].
    pub fn common_name(&self) -> Result<&str, CertificateError> {
        let mut names = self.inner.subject().iter_common_name();
        let name = names.next().ok_or(CertificateError::NoCommonName)?;
        if names.next().is_some() {
            return Err(CertificateError::SeveralCommonNames);
        }
        let value = name.attr_value();
        match value.tag() {
            Tag::Utf8String | Tag::PrintableString | Tag::Ia5String => {
                std::str::from_utf8(value.data).map_err(|_| CertificateError::CommonNameAlphabet)
            }
            _ => Err(CertificateError::CommonNameAlphabet),
        }
    }

    /// Checks that its subject names the identity: the device's id, or `{device}/{module}`, to the
    /// letter.
    ///
    /// # Errors
    /// Those of [`Self::common_name`], or [`CertificateError::OtherCommonName`].
    pub fn check_common_name(
        &self,
        device_id: &str,
        module_id: Option<&str>,
    ) -> Result<(), CertificateError> {
        let name = self.common_name()?;
        let is_same = match module_id {
            None => name == device_id,
            // No id has a slash.
            Some(module_id) => name.split_once('/') == Some((device_id, module_id)),
        };
        if is_same {
            Ok(())
        } else {
            Err(CertificateError::OtherCommonName)
        }
    }

    pub(super) fn inner(&self) -> &X509Certificate<'a> {
        &self.inner
    }
}
