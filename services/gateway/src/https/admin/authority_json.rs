//! A certificate authority as JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use downlink_auth::x509::{AuthorityCertificate, decode_certificate};
use downlink_domain::authority::{CertificateAuthority, Possession};
use downlink_domain::twin::Object;
use downlink_domain::{ErrorCode, Timestamp};
use serde_json::{Value, json};

use crate::https::answer::Answer;
use crate::https::error::ApiError;
use crate::https::request::{member, text_member};

/// What a body may hold: a whole document can be sent back.
const MEMBERS: [&str; 11] = [
    "name",
    "certificate",
    "subject",
    "thumbprint",
    "notBefore",
    "notAfter",
    "isVerified",
    "verificationCode",
    "etag",
    "created",
    "updated",
];

/// An authority as its writer describes it.
pub(super) struct AuthoritySpec {
    certificate: AuthorityCertificate,
    is_said_verified: bool,
}

/// The answer to whoever asked for an authority or wrote one.
pub(super) fn answer(authority: &CertificateAuthority) -> Answer {
    Answer::json(&document(authority))
        .with_etag(&authority.etag_text())
        .unstored()
}

pub(super) fn document(authority: &CertificateAuthority) -> Value {
    let mut document = json!({
        "name": authority.name,
        "certificate": STANDARD.encode(&authority.certificate),
        "subject": authority.subject,
        "thumbprint": authority.thumbprint,
        "notBefore": authority.not_before.to_string(),
        "notAfter": authority.not_after.to_string(),
        "isVerified": authority.possession == Possession::Verified,
        "etag": authority.etag_text(),
        "created": authority.created_at.to_string(),
        "updated": authority.updated_at.to_string(),
    });
    if let (Possession::Challenged { code }, Some(members)) =
        (&authority.possession, document.as_object_mut())
    {
        members.insert("verificationCode".to_owned(), code.as_str().into());
    }
    document
}

impl AuthoritySpec {
    pub(super) fn parse(body: &Object, name: &str) -> Result<Self, ApiError> {
        check_members(body, &MEMBERS, name)?;
        let is_said_verified = match member(body, "isVerified") {
            None => false,
            Some(Value::Bool(said)) => *said,
            Some(_) => return Err(ApiError::invalid(&"isVerified must be true or false")),
        };
        let certificate = AuthorityCertificate::read(&certificate(body)?);
        Ok(Self {
            certificate: certificate.map_err(|error| ApiError::invalid(&error))?,
            is_said_verified,
        })
    }

    /// Whether `authority` has the same certificate.
    pub(super) fn is_of(&self, authority: &CertificateAuthority) -> bool {
        authority.certificate == self.certificate.der
    }

    /// The authority of that name.
    ///
    /// # Errors
    /// Its writer says that it is verified and it is not: possession is shown, never claimed.
    pub(super) fn apply(
        &self,
        name: &str,
        possession: Possession,
        now: Timestamp,
    ) -> Result<CertificateAuthority, ApiError> {
        if self.is_said_verified && possession != Possession::Verified {
            return Err(ApiError::new(
                ErrorCode::InvalidOperation,
                "isVerified cannot be set: ask for a verification code and show possession of the key",
            ));
        }
        let at = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
        let said = &self.certificate;
        Ok(CertificateAuthority {
            name: name.to_owned(),
            certificate: said.der.clone().into(),
            subject: said.subject.clone(),
            thumbprint: said.thumbprint.clone(),
            not_before: at(said.not_before_seconds),
            not_after: at(said.not_after_seconds),
            possession,
            etag: 1,
            created_at: now,
            updated_at: now,
        })
    }
}

/// The certificate by which possession is to be proved, DER.
pub(super) fn parse_proof(body: &Object) -> Result<Vec<u8>, ApiError> {
    check_members(body, &["certificate"], "")?;
    certificate(body)
}

fn certificate(body: &Object) -> Result<Vec<u8>, ApiError> {
    let text = text_member(body, "certificate")?
        .ok_or_else(|| ApiError::new(ErrorCode::ArgumentNull, "certificate must be given"))?;
    decode_certificate(text).map_err(|error| ApiError::invalid(&error))
}

/// Refuses members that have no meaning, and a name that is not that of the path.
pub(super) fn check_members(body: &Object, known: &[&str], name: &str) -> Result<(), ApiError> {
    if let Some(stray) = body.keys().find(|key| !known.contains(&key.as_str())) {
        let stray: String = stray.chars().take(64).collect();
        return Err(ApiError::invalid(&format_args!(
            "there is no member {stray:?}"
        )));
    }
    match text_member(body, "name")? {
        Some(said) if said != name => Err(ApiError::invalid(&"name must be that of the path")),
        Some(_) | None => Ok(()),
    }
}
