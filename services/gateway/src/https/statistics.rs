//! Counts of the registry and of connections (registry.md §1).

use serde_json::json;

use super::answer::Answer;
use super::error::ApiError;
use crate::shared::Shared;

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

pub(super) async fn connected(shared: &Shared) -> Result<Answer, ApiError> {
    let count = shared.peers.presence.connected_count().await?;
    Ok(Answer::json(&json!({ "connectedDeviceCount": count })))
}
