//! Why a credential was not taken, and why a right is missing.

use downlink_auth::{AuthFailure, SasError};
use downlink_domain::ErrorCode;
use downlink_oidc::BearerError;
use downlink_ports::PeerError;
use thiserror::Error;
use tracing::debug;

macro_rules! causes {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        /// Why a credential was not taken; for log, metric and audit, never for the caller.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Cause {
            $($(#[$doc])* $name,)*
        }

        impl Cause {
            /// Every cause.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The word of the cause, as metrics and audit have it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

causes! {
    /// Nothing was shown.
    NoCredential = "no_credential";
    /// It has the form of no credential.
    Malformed = "malformed";
    /// There is no such device or module.
    UnknownIdentity = "unknown_identity";
    /// There is no such policy.
    UnknownPolicy = "unknown_policy";
    /// A back-end shows the token of a device.
    NoPolicy = "no_policy";
    /// No key of whom it names made the signature.
    Signature = "signature";
    /// It is one of another hub.
    OtherHub = "other_hub";
    /// Its scope does not cover what is wanted.
    Scope = "scope";
    /// It has expired.
    Expired = "expired";
    /// It is not valid yet.
    NotYetValid = "not_yet_valid";
    /// It holds, without the right to what is wanted.
    Right = "right";
    /// The identity proves itself by certificates.
    TokenForCertificateIdentity = "token_for_certificate_identity";
    /// The identity proves itself by keys.
    CertificateForTokenIdentity = "certificate_for_token_identity";
    /// Tokens of this kind are switched off.
    SasSwitchedOff = "sas_switched_off";
    /// The certificate is not among the identity's thumbprints.
    Thumbprint = "thumbprint";
    /// The certificate's subject is another.
    Subject = "subject";
    /// The certificate, or one above it, does not hold now.
    CertificateDates = "certificate_dates";
    /// The chain leads to no authority that is trusted.
    Authority = "authority";
    /// The certificate cannot be read, or is for something else.
    Certificate = "certificate";
    /// The issuer of a bearer token is not known.
    Issuer = "issuer";
    /// The key of a bearer token is not known, or its algorithm not allowed.
    BearerKey = "bearer_key";
    /// A bearer token is for another audience.
    Audience = "audience";
    /// It holds, but the identity is disabled.
    Disabled = "disabled";
    /// Policies and authorities are not known, or not for sure.
    Stale = "stale";
    /// The service that must be asked gave no answer.
    Unavailable = "unavailable";
}

/// What a refusal looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// The credential does not hold, or names nobody.
    Unauthorized,
    /// It holds, but the device is disabled.
    Disabled,
    /// Whether it holds cannot be told now.
    Unavailable,
}

/// Why a credential was not taken.
#[derive(Clone, Debug, Error)]
#[error("credential refused: {}", cause.as_str())]
pub struct Refusal {
    cause: Cause,
    #[source]
    peer: Option<PeerError>,
}

impl Refusal {
    /// A refusal for a reason.
    pub fn of(cause: Cause) -> Self {
        debug!(cause = cause.as_str(), "a credential was refused");
        Self { cause, peer: None }
    }

    /// A service that must be asked gave no answer.
    pub fn unavailable(error: PeerError) -> Self {
        debug!(%error, "a credential cannot be checked");
        Self {
            cause: Cause::Unavailable,
            peer: Some(error),
        }
    }

    /// Who may do what is not known.
    pub fn stale() -> Self {
        Self {
            peer: Some(PeerError::Unavailable { service: "twin" }),
            ..Self::of(Cause::Stale)
        }
    }

    /// What the caller is told.
    pub fn kind(&self) -> RefusalKind {
        match self.cause {
            Cause::Disabled => RefusalKind::Disabled,
            Cause::Stale | Cause::Unavailable => RefusalKind::Unavailable,
            _ => RefusalKind::Unauthorized,
        }
    }

    /// Why, for log, metric and audit.
    pub fn cause(&self) -> Cause {
        self.cause
    }

    /// What the service said that gave no answer.
    pub fn peer_error(&self) -> Option<&PeerError> {
        self.peer.as_ref()
    }
}

impl From<SasError> for Refusal {
    fn from(error: SasError) -> Self {
        debug!(%error, "a token cannot be read");
        Self::of(Cause::Malformed)
    }
}

impl From<AuthFailure> for Refusal {
    fn from(failure: AuthFailure) -> Self {
        Self::of(match failure {
            AuthFailure::NoKey | AuthFailure::Signature => Cause::Signature,
            AuthFailure::Host => Cause::OtherHub,
            AuthFailure::Scope => Cause::Scope,
            AuthFailure::Expired => Cause::Expired,
        })
    }
}

impl From<BearerError> for Refusal {
    fn from(error: BearerError) -> Self {
        debug!(%error, "a bearer token is not taken");
        Self::of(match error {
            BearerError::TooLarge | BearerError::Malformed | BearerError::Claims => {
                Cause::Malformed
            }
            BearerError::UnknownIssuer => Cause::Issuer,
            BearerError::Algorithm | BearerError::UnknownKey => Cause::BearerKey,
            BearerError::Signature => Cause::Signature,
            BearerError::Expired => Cause::Expired,
            BearerError::NotYetValid => Cause::NotYetValid,
            BearerError::Audience => Cause::Audience,
            BearerError::Unavailable => {
                return Self::unavailable(PeerError::Unavailable { service: "issuer" });
            }
        })
    }
}

/// Why a caller who proved itself may not do what it asks (auth.md §6.4).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Denied {
    /// Its policy, or the scope of its token, does not allow it.
    #[error("the policy or the scope of the token does not allow this")]
    Policy,
    /// Its token of an issuer does not allow it.
    #[error("the claims of the token do not allow this")]
    Bearer,
    /// Whether it may depends on what cannot be read now.
    #[error("whether the policy allows this cannot be told now")]
    Unavailable(#[source] PeerError),
}

impl Denied {
    /// The code of the catalogue: 401 for policies, 403 for tokens of issuers.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Policy => ErrorCode::IotHubUnauthorizedAccess,
            Self::Bearer => ErrorCode::GenericForbidden,
            Self::Unavailable(error) => error.code(),
        }
    }
}
