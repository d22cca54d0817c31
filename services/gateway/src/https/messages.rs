//! Queues and feedback: purge, receive, settle (c2d.md §6.3, §7).

use std::time::Duration;

use downlink_domain::access::Actor;
use downlink_domain::id::{DeviceId, LockToken};
use downlink_domain::message::Verdict;
use downlink_ports::events::feedback_json;
use serde_json::{Value, json};

use super::answer::Answer;
use super::error::ApiError;
use super::openapi::schema::message::{FeedbackRecord, PurgedQueue};
use super::openapi::schema::{IdentityId, Lock};
use crate::shared::Shared;

/// Removes the messages that wait for a device.
#[utoipa::path(
    delete,
    path = "/devices/{id}/commands",
    tag = "messages",
    operation_id = "purgeMessages",
    params(
        ("id" = IdentityId, Path, description = "The device."),
    ),
    responses((status = 200, description = "How many are gone.", body = PurgedQueue)),
)]
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
#[utoipa::path(
    get,
    path = "/messages/serviceBound/feedback",
    tag = "messages",
    operation_id = "receiveFeedback",
    responses(
        (status = 200, description = "A batch, locked.", body = Vec<FeedbackRecord>, headers(("ETag" = String, description = "The lock, quoted."))),
        (status = 204, description = "There is none."),
    ),
)]
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

/// Completes a batch: it does not come again.
#[utoipa::path(
    delete,
    path = "/messages/serviceBound/feedback/{lock}",
    tag = "messages",
    operation_id = "completeFeedback",
    params(
        ("lock" = Lock, Path, description = "The lock."),
    ),
    responses((status = 204, description = "It is done.")),
)]
pub(super) async fn complete_feedback(
    shared: &Shared,
    token: LockToken,
) -> Result<Answer, ApiError> {
    settle_feedback(shared, token, Verdict::Complete).await
}

/// Gives a batch back: it comes again.
#[utoipa::path(
    post,
    path = "/messages/serviceBound/feedback/{lock}/abandon",
    tag = "messages",
    operation_id = "abandonFeedback",
    params(
        ("lock" = Lock, Path, description = "The lock."),
    ),
    responses((status = 204, description = "It is given back.")),
)]
pub(super) async fn abandon_feedback(
    shared: &Shared,
    token: LockToken,
) -> Result<Answer, ApiError> {
    settle_feedback(shared, token, Verdict::Abandon).await
}

async fn settle_feedback(
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
