//! What a token proves, and why one is refused.

use std::sync::Arc;

use downlink_domain::access::Actions;

/// What a verified token says of whoever holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The issuer that signed it, as configured.
    pub issuer: Arc<str>,
    /// Whom the issuer gave it to, for audit and throttling: 1 to 256 bytes without control
    /// characters; not a secret.
    pub subject: String,
    /// What it allows; may be empty.
    pub actions: Actions,
    /// Its `exp`, in seconds since the Unix epoch; the clock skew is not added.
    pub expires_at_seconds: i64,
}

/// Why a bearer token was not taken. A client learns of [`Self::Unavailable`] alone; the others
/// look the same from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BearerError {
    /// It is longer than 16 KiB.
    #[error("the token is longer than 16 KiB")]
    TooLarge,
    /// It is no signed JSON Web Token in compact form, or its header asks for what is not spoken.
    #[error("the token is malformed")]
    Malformed,
    /// No configured issuer has the name in its `iss`.
    #[error("the issuer of the token is unknown")]
    UnknownIssuer,
    /// Its algorithm is none, one with a shared secret, or not one that the issuer may use.
    #[error("the algorithm of the token is not allowed")]
    Algorithm,
    /// The issuer publishes no key that its header names and that fits its algorithm.
    #[error("the key of the token is unknown")]
    UnknownKey,
    /// The signature does not hold.
    #[error("the signature of the token does not hold")]
    Signature,
    /// It has ended.
    #[error("the token has expired")]
    Expired,
    /// It has not begun.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It is meant for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// A claim is missing or is not what the standard says: `exp`, the times, the subject.
    #[error("the claims of the token are incomplete")]
    Claims,
    /// The keys of the issuer cannot be had now, and those at hand are too old or do not fit.
    #[error("the keys of the issuer are unavailable")]
    Unavailable,
}

impl BearerError {
    /// Every cause.
    pub const ALL: &'static [Self] = &[
        Self::TooLarge,
        Self::Malformed,
        Self::UnknownIssuer,
        Self::Algorithm,
        Self::UnknownKey,
        Self::Signature,
        Self::Expired,
        Self::NotYetValid,
        Self::Audience,
        Self::Claims,
        Self::Unavailable,
    ];

    /// A short name of the cause, for metrics and audit.
    pub const fn cause(self) -> &'static str {
        match self {
            Self::TooLarge => "too-large",
            Self::Malformed => "malformed",
            Self::UnknownIssuer => "unknown-issuer",
            Self::Algorithm => "algorithm",
            Self::UnknownKey => "unknown-key",
            Self::Signature => "signature",
            Self::Expired => "expired",
            Self::NotYetValid => "not-yet-valid",
            Self::Audience => "audience",
            Self::Claims => "claims",
            Self::Unavailable => "unavailable",
        }
    }
}
