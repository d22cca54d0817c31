//! Twins (twins.md §2).

use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::identity::{AuthenticationType, Capabilities, ConnectionState, Status, X509Thumbprint};
use super::{IdentityId, Instant};

/// Both sections of properties, each with `$metadata` and `$version`.
#[derive(ToSchema)]
pub(in crate::https) struct TwinProperties {
    /// What the device should be.
    desired: Map<String, Value>,
    /// What the device says it is.
    reported: Map<String, Value>,
}

/// A twin, as it is read.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct Twin {
    device_id: IdentityId,
    module_id: Option<IdentityId>,
    etag: String,
    device_etag: Option<String>,
    status: Option<Status>,
    status_reason: Option<String>,
    status_update_time: Option<Instant>,
    connection_state: ConnectionState,
    last_activity_time: Instant,
    #[schema(minimum = 0)]
    cloud_to_device_message_count: Option<u64>,
    authentication_type: Option<AuthenticationType>,
    x509_thumbprint: Option<X509Thumbprint>,
    /// The model of IoT Plug and Play that the device announced, or nothing.
    model_id: Option<String>,
    #[schema(minimum = 1)]
    version: u64,
    /// What the back-end keeps of the device; the device never sees it.
    tags: Option<Map<String, Value>>,
    properties: TwinProperties,
    capabilities: Option<Capabilities>,
    device_scope: Option<String>,
    parent_scopes: Option<Vec<String>>,
}

/// Desired properties, as they are written.
#[derive(ToSchema)]
pub(in crate::https) struct WrittenProperties {
    /// What the device should be. Names that begin with `$` are ignored.
    desired: Option<Map<String, Value>>,
}

/// A change of a twin. Everything else in the body is ignored.
#[derive(ToSchema)]
pub(in crate::https) struct WrittenTwin {
    /// What the back-end keeps of the device.
    tags: Option<Map<String, Value>>,
    properties: Option<WrittenProperties>,
}
