//! Counts of the registry and of connections (registry.md §1).

use serde_json::json;

use super::answer::Answer;
use super::error::ApiError;
use super::openapi::schema::identity::{RegistryStatistics, ServiceStatistics};
use crate::shared::Shared;

/// Counts the identities of devices.
#[utoipa::path(
    get,
    path = "/statistics/devices",
    tag = "identities",
    operation_id = "countDevices",
    responses((status = 200, description = "The counts.", body = RegistryStatistics)),
)]
pub(super) async fn devices(shared: &Shared) -> Result<Answer, ApiError> {
    let counts = shared
        .peers
        .twins
        .count_devices(shared.options.hub.clone())
        .await?;
    Ok(Answer::json(&json!({
        "totalDeviceCount": counts.total,
        "enabledDeviceCount": counts.enabled,
        "disabledDeviceCount": counts.total.saturating_sub(counts.enabled),
    })))
}

/// Counts the devices that are connected.
#[utoipa::path(
    get,
    path = "/statistics/service",
    tag = "identities",
    operation_id = "countConnected",
    responses((status = 200, description = "The count.", body = ServiceStatistics)),
)]
pub(super) async fn connected(shared: &Shared) -> Result<Answer, ApiError> {
    let count = shared
        .peers
        .connections
        .count_connected(shared.options.hub.clone())
        .await?;
    Ok(Answer::json(&json!({ "connectedDeviceCount": count })))
}
