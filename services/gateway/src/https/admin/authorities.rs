//! Certificate authorities: register, ask for a proof of possession, take it (auth.md §5).

use std::fmt::Write as _;

use downlink_auth::x509::prove_possession;
use downlink_domain::ErrorCode;
use downlink_domain::access::Actor;
use downlink_domain::authority::{CertificateAuthority, Possession, check_authority_name};
use downlink_domain::device::IfMatch;
use serde_json::Value;

use super::authority_json::{self, AuthoritySpec};
use super::{condition_on, not_found, read, settle_races};
use crate::https::answer::Answer;
use crate::https::error::ApiError;
use crate::https::openapi::schema::admin as schema;
use crate::https::request::parse_object;
use crate::shared::Shared;

/// Random bytes of a verification code.
const CODE_BYTES: usize = 24;

/// Lists the certificate authorities of the hub.
#[utoipa::path(
    get,
    path = "/admin/certificates",
    tag = "administration",
    operation_id = "listAuthorities",
    responses((status = 200, description = "All of them.", body = Vec<schema::Authority>)),
)]
pub(in crate::https) async fn list(shared: &Shared) -> Result<Answer, ApiError> {
    let authorities = read(shared).await?.authorities;
    let documents = authorities.iter().map(authority_json::document);
    Ok(Answer::json(&Value::Array(documents.collect())).unstored())
}

/// Reads a certificate authority.
#[utoipa::path(
    get,
    path = "/admin/certificates/{name}",
    tag = "administration",
    operation_id = "getAuthority",
    params(
        ("name" = schema::Name, Path, description = "The authority."),
    ),
    responses((status = 200, description = "The authority.", body = schema::Authority, headers(("ETag" = String, description = "The etag, quoted.")))),
)]
pub(in crate::https) async fn get(
    shared: &Shared,
    name: &str,
) -> Result<CertificateAuthority, ApiError> {
    let mut authorities = read(shared).await?.authorities.into_iter();
    let found = authorities.find(|authority| authority.name == name);
    found.ok_or_else(|| not_found(name))
}

/// Registers an authority, or replaces one. What was proved holds on for the same certificate and for no other.
#[utoipa::path(
    put,
    path = "/admin/certificates/{name}",
    tag = "administration",
    operation_id = "putAuthority",
    params(
        ("name" = schema::Name, Path, description = "The authority."),
        ("If-Match" = Option<String>, Header, description = "`*`, or an etag."),
    ),
    request_body = schema::Certificate,
    responses((status = 200, description = "The authority as it is now.", body = schema::Authority, headers(("ETag" = String, description = "The etag, quoted.")))),
)]
pub(in crate::https) async fn put(
    shared: &Shared,
    name: &str,
    if_match: IfMatch,
    by: Actor,
    body: &[u8],
) -> Result<CertificateAuthority, ApiError> {
    check_authority_name(name).map_err(|error| ApiError::invalid(&error))?;
    let spec = AuthoritySpec::parse(&parse_object(body)?, name)?;
    let now = shared.peers.clock.now();
    if if_match == IfMatch::Absent {
        let authority = spec.apply(name, Possession::Unverified, now)?;
        return write(shared, authority, if_match, by).await;
    }
    let attempt = || async {
        let current = get(shared, name).await?;
        let condition = condition_on(current.etag_text(), &if_match)?;
        let possession = if spec.is_of(&current) {
            current.possession
        } else {
            Possession::Unverified
        };
        let authority = spec.apply(name, possession, now)?;
        write(shared, authority, condition, by.clone()).await
    };
    settle_races(&if_match, attempt).await
}

/// Makes the code that a proof must bear; one that was asked for before holds no more.
#[utoipa::path(
    post,
    path = "/admin/certificates/{name}/verificationCode",
    tag = "administration",
    operation_id = "challengeAuthority",
    params(
        ("name" = schema::Name, Path, description = "The authority."),
        ("If-Match" = Option<String>, Header, description = "`*`, or an etag."),
    ),
    responses((status = 200, description = "The authority with its code.", body = schema::Authority, headers(("ETag" = String, description = "The etag, quoted.")))),
)]
pub(in crate::https) async fn challenge(
    shared: &Shared,
    name: &str,
    if_match: IfMatch,
    by: Actor,
) -> Result<CertificateAuthority, ApiError> {
    let mut random = [0; CODE_BYTES];
    shared.peers.ids.fill_random(&mut random);
    let mut code = String::with_capacity(2 * CODE_BYTES);
    for byte in random {
        let _ = write!(code, "{byte:02X}");
    }
    let attempt = || async {
        let mut authority = get(shared, name).await?;
        let condition = condition_on(authority.etag_text(), &if_match)?;
        if authority.possession == Possession::Verified {
            // Another code would end the trust that its devices live by.
            return Err(misplaced("the authority is verified already"));
        }
        authority.possession = Possession::Challenged { code: code.clone() };
        write(shared, authority, condition, by.clone()).await
    };
    settle_races(&if_match, attempt).await
}

/// Takes the proof: a certificate that bears the code and that the authority has signed.
#[utoipa::path(
    post,
    path = "/admin/certificates/{name}/verify",
    tag = "administration",
    operation_id = "verifyAuthority",
    params(
        ("name" = schema::Name, Path, description = "The authority."),
        ("If-Match" = Option<String>, Header, description = "`*`, or an etag."),
    ),
    request_body = schema::Certificate,
    responses((status = 200, description = "The authority, verified.", body = schema::Authority, headers(("ETag" = String, description = "The etag, quoted.")))),
)]
pub(in crate::https) async fn verify(
    shared: &Shared,
    name: &str,
    if_match: IfMatch,
    by: Actor,
    body: &[u8],
) -> Result<CertificateAuthority, ApiError> {
    let proof = authority_json::parse_proof(&parse_object(body)?)?;
    let now = shared.peers.clock.now();
    let attempt = || async {
        let mut authority = get(shared, name).await?;
        let condition = condition_on(authority.etag_text(), &if_match)?;
        let code = match &authority.possession {
            Possession::Challenged { code } => code,
            Possession::Unverified => return Err(misplaced("no verification code was asked for")),
            Possession::Verified => return Err(misplaced("the authority is verified already")),
        };
        prove_possession(&authority.certificate, &proof, code, now.as_seconds())
            .map_err(|error| ApiError::invalid(&format_args!("no proof of possession: {error}")))?;
        authority.possession = Possession::Verified;
        write(shared, authority, condition, by.clone()).await
    };
    settle_races(&if_match, attempt).await
}

/// Removes a certificate authority; what lives by it ends.
#[utoipa::path(
    delete,
    path = "/admin/certificates/{name}",
    tag = "administration",
    operation_id = "deleteAuthority",
    params(
        ("name" = schema::Name, Path, description = "The authority."),
        ("If-Match" = Option<String>, Header, description = "`*`, or an etag."),
    ),
    responses((status = 204, description = "It is gone.")),
)]
pub(in crate::https) async fn delete(
    shared: &Shared,
    name: String,
    if_match: IfMatch,
    by: Actor,
) -> Result<Answer, ApiError> {
    let hub = shared.options.hub.clone();
    let twins = &shared.peers.twins;
    twins.delete_authority(hub, name, if_match, by).await?;
    Ok(Answer::empty())
}

async fn write(
    shared: &Shared,
    authority: CertificateAuthority,
    if_match: IfMatch,
    by: Actor,
) -> Result<CertificateAuthority, ApiError> {
    let hub = shared.options.hub.clone();
    let twins = &shared.peers.twins;
    Ok(twins.put_authority(hub, authority, if_match, by).await?)
}

fn misplaced(text: &str) -> ApiError {
    ApiError::new(ErrorCode::InvalidOperation, text)
}
