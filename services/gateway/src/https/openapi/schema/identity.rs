//! Identities (registry.md §2.1).

use utoipa::ToSchema;

use super::{IdentityId, Instant};

/// A whole number, or nothing.
#[derive(ToSchema)]
#[schema(pattern = "^(-?[0-9]{1,18})?$", example = "100")]
pub(in crate::https) struct Top(String);

/// Whether a device may connect.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) enum Status {
    Enabled,
    Disabled,
}

/// Whether a device is connected, as far as the hub knows.
#[derive(ToSchema)]
pub(in crate::https) enum ConnectionState {
    Connected,
    Disconnected,
}

/// How an identity proves itself.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) enum AuthenticationType {
    Sas,
    SelfSigned,
    CertificateAuthority,
    None,
}

/// Two keys, base64 of 16 to 64 bytes; both or none.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct SymmetricKey {
    primary_key: Option<String>,
    secondary_key: Option<String>,
}

/// Thumbprints of certificates, SHA-1 or SHA-256 in hexadecimal.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct X509Thumbprint {
    primary_thumbprint: Option<String>,
    secondary_thumbprint: Option<String>,
}

/// How an identity proves itself. Keys that a writer leaves out are made by the hub.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct Authentication {
    symmetric_key: Option<SymmetricKey>,
    x509_thumbprint: Option<X509Thumbprint>,
    r#type: Option<AuthenticationType>,
}

/// What a device can do.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct Capabilities {
    /// Whether it is a gateway of other devices.
    iot_edge: Option<bool>,
}

/// An identity of a device, as it is read.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct DeviceIdentity {
    device_id: IdentityId,
    /// Another one whenever an identity of the same id is made anew.
    generation_id: String,
    etag: String,
    connection_state: ConnectionState,
    status: Status,
    #[schema(required = true)]
    status_reason: Option<String>,
    connection_state_updated_time: Instant,
    status_updated_time: Instant,
    last_activity_time: Instant,
    #[schema(minimum = 0)]
    cloud_to_device_message_count: u64,
    authentication: Authentication,
    capabilities: Capabilities,
    device_scope: Option<String>,
    parent_scopes: Option<Vec<String>>,
}

/// An identity of a device, as it is written. Members that only the hub knows are ignored.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct NewDeviceIdentity {
    /// The id of the path, if it is given.
    device_id: Option<IdentityId>,
    status: Option<Status>,
    #[schema(max_length = 128)]
    status_reason: Option<String>,
    authentication: Option<Authentication>,
    capabilities: Option<Capabilities>,
    device_scope: Option<String>,
    parent_scopes: Option<Vec<String>>,
}

/// An identity of a module, as it is read.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct ModuleIdentity {
    module_id: IdentityId,
    /// Who looks after it.
    #[schema(required = true)]
    managed_by: Option<String>,
    device_id: IdentityId,
    /// Another one whenever an identity of the same id is made anew.
    generation_id: String,
    etag: String,
    connection_state: ConnectionState,
    connection_state_updated_time: Instant,
    last_activity_time: Instant,
    #[schema(minimum = 0)]
    cloud_to_device_message_count: u64,
    authentication: Authentication,
}

/// An identity of a module, as it is written. Members that only the hub knows are ignored.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct NewModuleIdentity {
    /// The id of the path, if it is given.
    module_id: Option<IdentityId>,
    /// The id of the path, if it is given.
    device_id: Option<IdentityId>,
    #[schema(max_length = 128)]
    managed_by: Option<String>,
    authentication: Option<Authentication>,
}

/// How many devices there are.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct RegistryStatistics {
    #[schema(minimum = 0)]
    total_device_count: u64,
    #[schema(minimum = 0)]
    enabled_device_count: u64,
    #[schema(minimum = 0)]
    disabled_device_count: u64,
}

/// How many devices are connected.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct ServiceStatistics {
    #[schema(minimum = 0)]
    connected_device_count: u64,
}
