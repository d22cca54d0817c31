//! Why a certificate is not believed.

use super::MAX_CERTIFICATE_BYTES;

/// Why a certificate is not believed. For logs and for administrators; devices are told only that
/// they are not authorized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Larger than [`MAX_CERTIFICATE_BYTES`].
    #[error("certificate is larger than {MAX_CERTIFICATE_BYTES} bytes")]
    TooLarge,
    /// It is no X.509 certificate.
    #[error("certificate cannot be read")]
    Unreadable,
    /// It is not one certificate in PEM, or one in base64.
    #[error("text is not one certificate in PEM or base64")]
    Text,
    /// Its life has not begun.
    #[error("certificate is not valid yet")]
    NotYetValid,
    /// Its life has ended.
    #[error("certificate has expired")]
    Expired,
    /// Neither registered thumbprint is its own.
    #[error("certificate has neither thumbprint of the identity")]
    Thumbprint,
    /// Its subject has no common name.
    #[error("subject has no common name")]
    NoCommonName,
    /// Its subject has several common names.
    #[error("subject has several common names")]
    SeveralCommonNames,
    /// The common name is in none of the alphabets that have one meaning: UTF-8, printable, IA5.
    #[error("common name is no UTF-8, printable or IA5 string")]
    CommonNameAlphabet,
    /// The common name is another.
    #[error("common name is another")]
    OtherCommonName,
    /// It has no form in which a path can begin: X.509 version 3, without unknown critical
    /// extensions.
    #[error("certificate has a form from which no path is built")]
    Form,
    /// It is an authority's own.
    #[error("certificate of an authority stands where a device's should")]
    AuthorityAsDevice,
    /// It, or one above it, is not meant for clients.
    #[error("certificate is not for client authentication")]
    Usage,
    /// No path leads to a trusted authority.
    #[error("no path leads to a trusted authority")]
    UnknownAuthority,
    /// A path leads to the name of a trusted authority, but its key did not sign it, or by an
    /// algorithm that is not taken.
    #[error("signature in the path does not hold")]
    Signature,
    /// One above it may not sign others.
    #[error("certificate in the path may not sign others")]
    NotAnAuthority,
    /// One above it has expired, or its life has not begun.
    #[error("certificate in the path is not valid now")]
    PathDates,
    /// The path is longer than it may be.
    #[error("path is longer than an authority allows")]
    PathLength,
    /// It bears names that one above it may not sign.
    #[error("path breaks the name constraints of an authority")]
    NameConstraints,
    /// So many paths are thinkable that the search was given up.
    #[error("search for a path was given up")]
    TooMuchWork,
}

impl CertificateError {
    /// A word for metrics and audit events, closed and stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::Unreadable => "unreadable",
            Self::Text => "text",
            Self::NotYetValid => "not-yet-valid",
            Self::Expired => "expired",
            Self::Thumbprint => "thumbprint",
            Self::NoCommonName => "no-common-name",
            Self::SeveralCommonNames => "several-common-names",
            Self::CommonNameAlphabet => "common-name-alphabet",
            Self::OtherCommonName => "other-common-name",
            Self::Form => "form",
            Self::AuthorityAsDevice => "authority-as-device",
            Self::Usage => "usage",
            Self::UnknownAuthority => "unknown-authority",
            Self::Signature => "signature",
            Self::NotAnAuthority => "not-an-authority",
            Self::PathDates => "path-dates",
            Self::PathLength => "path-length",
            Self::NameConstraints => "name-constraints",
            Self::TooMuchWork => "too-much-work",
        }
    }
}
