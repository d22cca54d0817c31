//! Queues and feedback: purge, receive, settle (c2d.md §6.3, §7).

use std::time::Duration;

use downlink_domain::access::Actor;
use downlink_domain::id::{DeviceId, LockToken};
use downlink_domain::message::Verdict;
use downlink_ports::events::feedback_json;
use serde_json::{Value, json};

use super::answer::Answer;
use super::error::ApiError;
use crate::shared::Shared;

pub(super) async fn purge(shared: &Shared, id: DeviceId, by: Actor) -> Result<Answer, ApiError> {
    let hub = shared.options.hub.clone();
    let outcome = shared.peers.queue.purge(hub, id.clone(), by).await?;
    Ok(Answer::json(&json!({
        "totalMessagesPurged": outcome.removed,
        "deviceId": id.as_str(),
        "moduleId": Value::Null,
    })))
}

/// Answers with the batch that is ready now, if there is one; its lock is the `ETag`.
pub(super) async fn receive_feedback(shared: &Shared) -> Result<Answer, ApiError> {
    let hub = shared.options.hub.clone();
    let batch = shared
        .peers
        .queue
        .receive_feedback(hub, Duration::ZERO)
        .await?;
    Ok(match batch {
        None => Answer::empty(),
        Some(batch) => {
            let records = batch.records.iter().map(feedback_json).collect();
            Answer::json(&Value::Array(records)).with_etag(&batch.token)
        }
    })
}

pub(super) async fn settle_feedback(
    shared: &Shared,
    token: LockToken,
    verdict: Verdict,
) -> Result<Answer, ApiError> {
    let hub = shared.options.hub.clone();
    let settled = shared
        .peers
        .queue
        .settle_feedback(hub, token, verdict)
        .await?;
    settled.map_err(|error| ApiError::new(error.code(), error.to_string()))?;
    Ok(Answer::empty())
}
