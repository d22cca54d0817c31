//! Administration of the hub.

use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::Instant;

/// Name of a policy or an authority; case counts.
#[derive(ToSchema)]
#[schema(
    min_length = 1,
    max_length = 64,
    pattern = "^[A-Za-z0-9._\\-]{1,64}$",
    example = "plant"
)]
pub(in crate::https) struct Name(String);

/// What a policy permits.
#[derive(ToSchema)]
pub(in crate::https) enum Permission {
    RegistryRead,
    RegistryWrite,
    ServiceConnect,
    DeviceConnect,
    Administer,
}

/// A policy; without its keys for whoever may not read them.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct Policy {
    name: String,
    primary_key: Option<String>,
    secondary_key: Option<String>,
    permissions: Vec<Permission>,
    /// Limits to devices, verbs and methods; `null` for none.
    #[schema(required = true)]
    scope: Option<Map<String, Value>>,
    etag: String,
}

/// A policy, as it is written.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct NewPolicy {
    /// Base64 of 16 to 64 bytes; both or none.
    primary_key: Option<String>,
    secondary_key: Option<String>,
    #[schema(min_items = 1)]
    permissions: Vec<Permission>,
    /// Limits to devices, verbs and methods.
    scope: Option<Map<String, Value>>,
}

/// Which key of a policy is to be another one.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) enum WhichKey {
    Primary,
    Secondary,
    Both,
}

/// Which keys are to be others, and what they are to be if the hub is not to make them.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct NewKeys {
    key: WhichKey,
    primary_key: Option<String>,
    secondary_key: Option<String>,
}

/// A certificate authority.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct Authority {
    name: String,
    /// Base64 of DER.
    certificate: String,
    subject: String,
    thumbprint: String,
    not_before: Instant,
    not_after: Instant,
    is_verified: bool,
    verification_code: Option<String>,
    etag: String,
    created: Instant,
    updated: Instant,
}

/// A certificate in PEM, or base64 of DER or of PEM.
#[derive(ToSchema)]
pub(in crate::https) struct Certificate {
    certificate: String,
}
