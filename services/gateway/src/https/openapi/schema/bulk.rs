//! Many identities in one call (registry.md §4).

use utoipa::ToSchema;

use super::IdentityId;
use super::identity::{Authentication, Capabilities, Status};

/// What becomes of an item; words are compared without case.
#[derive(ToSchema)]
pub(in crate::https) enum ImportMode {
    #[schema(rename = "create")]
    Create,
    #[schema(rename = "update")]
    Update,
    #[schema(rename = "updateIfMatchETag")]
    UpdateIfMatch,
    #[schema(rename = "delete")]
    Delete,
    #[schema(rename = "deleteIfMatchETag")]
    DeleteIfMatch,
    #[schema(rename = "updateTwin")]
    UpdateTwin,
    #[schema(rename = "updateTwinIfMatchETag")]
    UpdateTwinIfMatch,
}

/// The part of a twin that an item writes.
#[derive(ToSchema)]
pub(in crate::https) struct BulkProperties {
    #[schema(value_type = Option<Object>)]
    desired: Option<()>,
}

/// One identity, and what becomes of it.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct BulkIdentity {
    id: IdentityId,
    module_id: Option<IdentityId>,
    import_mode: Option<ImportMode>,
    /// For `updateIfMatchETag` and `deleteIfMatchETag`.
    e_tag: Option<String>,
    /// For `updateTwinIfMatchETag`.
    #[schema(rename = "twinETag")]
    twin_etag: Option<String>,
    status: Option<Status>,
    #[schema(max_length = 128)]
    status_reason: Option<String>,
    authentication: Option<Authentication>,
    capabilities: Option<Capabilities>,
    device_scope: Option<String>,
    parent_scopes: Option<Vec<String>>,
    #[schema(max_length = 128)]
    managed_by: Option<String>,
    #[schema(value_type = Option<Object>)]
    tags: Option<()>,
    properties: Option<BulkProperties>,
}

/// Why an item is not done.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct BulkError {
    /// As the caller wrote it.
    device_id: String,
    #[schema(required = true)]
    module_id: Option<String>,
    /// Number of the catalogue.
    error_code: u32,
    /// Name of the catalogue.
    error_status: String,
    /// The import mode; empty when it is unknown.
    operation: String,
}

/// What an operator should know of an item that is done.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct BulkWarning {
    device_id: String,
    warning_code: String,
    warning_status: String,
}

/// What became of the items.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct BulkResult {
    is_successful: bool,
    errors: Vec<BulkError>,
    warnings: Vec<BulkWarning>,
}

/// Which of two keys.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) enum PolicyKey {
    PrimaryKey,
    SecondaryKey,
    Both,
}

/// An identity whose keys are exchanged.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct KeyOwner {
    id: IdentityId,
    module_id: Option<IdentityId>,
}

/// Keys to exchange.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct KeyRotation {
    policy_key: PolicyKey,
    #[schema(max_items = 100)]
    devices: Vec<KeyOwner>,
}

/// New keys of an identity.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct RotatedKey {
    id: IdentityId,
    #[schema(required = true)]
    module_id: Option<IdentityId>,
    primary_key: Option<String>,
    secondary_key: Option<String>,
}

/// Why keys are not exchanged.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct RotationError {
    id: String,
    #[schema(required = true)]
    module_id: Option<String>,
    error_code: u32,
    error_status: String,
}

/// What became of the keys.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct KeyRotationResult {
    policy_key: PolicyKey,
    rotated_keys: Vec<RotatedKey>,
    errors: Vec<RotationError>,
}
