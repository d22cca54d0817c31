//! Reports to the sender (c2d.md §6).

use crate::id::{DeviceId, DeviceKey, GenerationId, HubName, LockToken};
use crate::message::{AckMode, DeadLetterReason};
use crate::time::Timestamp;

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FeedbackStatus {
    /// Completed by the device.
    Success,
    /// Its expiry passed.
    Expired,
    /// Its deliveries were used up.
    DeliveryCountExceeded,
    /// Rejected by the device.
    Rejected,
    /// Purged by a back-end.
    Purged,
}

impl FeedbackStatus {
    /// The word on the wire, exact case (c2d.md §6.2).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "Success",
            Self::Expired => "Expired",
            Self::DeliveryCountExceeded => "DeliveryCountExceeded",
            Self::Rejected => "Rejected",
            Self::Purged => "Purged",
        }
    }

    /// Reads the word of [`Self::as_str`].
    pub fn parse(word: &str) -> Option<Self> {
        [
            Self::Success,
            Self::Expired,
            Self::DeliveryCountExceeded,
            Self::Rejected,
            Self::Purged,
        ]
        .into_iter()
        .find(|status| status.as_str() == word)
    }

    /// Tells whether a sender with `ack` hears of this outcome (c2d.md §6.1).
    pub const fn is_wanted_by(self, ack: AckMode) -> bool {
        match (ack, self) {
            (AckMode::None, _) => false,
            (AckMode::Full, _) => true,
            (AckMode::Positive, status) => matches!(status, Self::Success),
            (AckMode::Negative, status) => !matches!(status, Self::Success),
        }
    }
}

impl From<DeadLetterReason> for FeedbackStatus {
    fn from(reason: DeadLetterReason) -> Self {
        match reason {
            DeadLetterReason::Expired => Self::Expired,
            DeadLetterReason::DeliveryCountExceeded => Self::DeliveryCountExceeded,
            DeadLetterReason::Rejected => Self::Rejected,
            DeadLetterReason::Purged => Self::Purged,
        }
    }
}

/// One report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedbackRecord {
    /// The tenant.
    pub hub: HubName,
    /// Key of the device's life that the message was for.
    pub device_key: DeviceKey,
    /// The device.
    pub device: DeviceId,
    /// Its generation at that time.
    pub generation: GenerationId,
    /// The sender's id of the message.
    pub original_message_id: Option<String>,
    /// When the outcome happened.
    pub at: Timestamp,
    /// The outcome.
    pub status: FeedbackStatus,
}

/// A batch of reports held by one receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedbackBatch {
    /// Proof of holding it.
    pub token: LockToken,
    /// First instant at which the hold ends.
    pub locked_until: Timestamp,
    /// When the youngest record was written.
    pub enqueued_at: Timestamp,
    /// Earlier deliveries of the batch.
    pub delivery_count: u32,
    /// The records, oldest first; never empty.
    pub records: Vec<FeedbackRecord>,
}
