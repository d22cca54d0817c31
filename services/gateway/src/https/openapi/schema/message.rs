//! Queues, feedback and telemetry (c2d.md §6.3, §7; http-device.md §2).

use utoipa::ToSchema;

use super::{IdentityId, Instant};

/// How many messages are gone.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct PurgedQueue {
    #[schema(minimum = 0)]
    total_messages_purged: u64,
    device_id: IdentityId,
    #[schema(required = true)]
    module_id: Option<IdentityId>,
}

/// How a message ended.
#[derive(ToSchema)]
pub(in crate::https) enum FeedbackStatus {
    Success,
    Expired,
    DeliveryCountExceeded,
    Rejected,
    Purged,
}

/// What became of a message.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub(in crate::https) struct FeedbackRecord {
    #[schema(required = true)]
    original_message_id: Option<String>,
    enqueued_time_utc: Instant,
    status_code: FeedbackStatus,
    description: FeedbackStatus,
    device_id: IdentityId,
    device_generation_id: String,
}
