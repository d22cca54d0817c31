//! Durable cloud-to-device messages and their feedback.

use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::ErrorCode;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::id::{DeviceId, DeviceKey, HubName, LockToken, SequenceNumber};
use downlink_domain::message::feedback::FeedbackBatch;
use downlink_domain::message::transition::LockLost;
use downlink_domain::message::{Lock, Message, NewMessage, QueueRules, Settlement, Verdict};
use thiserror::Error;

use crate::StoreError;

/// Bounds that an accepted message must keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnqueueRules {
    /// Messages waiting for one device, Enqueued and Invisible, unexpired.
    pub max_depth: u32,
}

/// A message that is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enqueued {
    /// Key of the device it is for.
    pub device: DeviceKey,
    /// Its place.
    pub sequence: SequenceNumber,
}

/// Why a message was not accepted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EnqueueError {
    /// Unknown or disabled device.
    #[error("device {0} is not registered or is disabled")]
    DeviceNotFound(DeviceId),
    /// As many messages wait as may.
    #[error("the queue of device {device} holds {max_depth} messages, as many as it may")]
    QueueFull {
        /// The device.
        device: DeviceId,
        /// The limit.
        max_depth: u32,
    },
    /// Body and properties are larger than the limit.
    #[error("the message has {bytes} bytes, more than {max_bytes}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        max_bytes: usize,
    },
    /// The expiry is in the past or beyond the longest life.
    #[error("the expiry is in the past or too far away")]
    InvalidExpiry,
    /// An id or a property outside its rules.
    #[error("{0}")]
    InvalidProperty(String),
    /// The store, or the way to it, failed over this message but not over others of its call: it
    /// may or may not have been accepted.
    #[error("the message could not be stored now, try again")]
    Unavailable,
}

impl EnqueueError {
    /// The code of the catalogue (c2d.md §9).
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::DeviceNotFound(_) => ErrorCode::DeviceNotFound,
            Self::QueueFull { .. } => ErrorCode::DeviceMaximumQueueDepthExceeded,
            Self::TooLarge { .. } => ErrorCode::MessageTooLarge,
            Self::InvalidExpiry => ErrorCode::InvalidMessageExpiryTime,
            Self::InvalidProperty(_) => ErrorCode::ArgumentInvalid,
            Self::Unavailable => ErrorCode::ServiceUnavailable,
        }
    }
}

/// A request for a device's next messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receive {
    /// Whose queue.
    pub device: DeviceKey,
    /// One token per message wanted; their number is the limit.
    pub tokens: Vec<LockToken>,
    /// First instant at which the locks no longer hold.
    pub locked_until: Timestamp,
}

/// A message and the lock it was handed out under.
///
/// Its `delivery_count` is the number that devices are shown, `Standing::seen_delivery_count`:
/// earlier counted deliveries, 0 at the first (c2d.md §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedMessage {
    /// The message; its state is `Invisible` with [`Self::lock`].
    pub message: Message,
    /// The hold.
    pub lock: Lock,
}

/// Why a message was not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SettleError {
    /// The token is not the current lock, the lock ended, or the message is gone.
    #[error("the lock on the message was lost")]
    LockLost,
}

impl SettleError {
    /// The code of the catalogue.
    pub fn code(self) -> ErrorCode {
        match self {
            Self::LockLost => ErrorCode::DeviceMessageLockLost,
        }
    }
}

impl From<LockLost> for SettleError {
    fn from(_: LockLost) -> Self {
        Self::LockLost
    }
}

/// What a sweep made visible.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Messages that expired.
    pub expired: u64,
    /// Messages whose last lock lapsed with their deliveries used up.
    pub exhausted: u64,
    /// Devices with messages that are receivable again because a lock lapsed; each once.
    pub lapsed: Vec<DeviceKey>,
    /// Whether the limit was reached and more may be due.
    pub more: bool,
}

/// Asks to empty a device's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PurgeOrder {
    /// The tenant.
    pub hub: HubName,
    /// Whose queue.
    pub device: DeviceId,
    /// Who asks for it.
    pub by: Actor,
    /// Id of the audit event.
    pub audit_id: [u8; 16],
    /// When.
    pub at: Timestamp,
}

/// What a purge removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PurgeOutcome {
    /// Messages removed, locked ones included.
    pub removed: u64,
}

/// Durable cloud-to-device messages, one ordered queue per device.
///
/// Every transition follows `downlink_domain::message::transition`. A message past its expiry
/// and a lock past its end read as expired whether or not a sweep has run. Terminal transitions
/// write the feedback record (when the sender wants it) to the feedback queue and to the outbox
/// in the same transaction.
#[async_trait]
pub trait MessageStore: Send + Sync {
    /// Accepts messages; when it returns, the accepted ones are on disk. Messages of one call
    /// for one device keep their order. Answers by position; the batch is not all-or-nothing.
    /// The caller sets `NewMessage::expiry`.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: messages may have been accepted.
    async fn enqueue(
        &self,
        messages: Vec<NewMessage>,
        rules: EnqueueRules,
        now: Timestamp,
    ) -> Result<Vec<Result<Enqueued, EnqueueError>>, StoreError>;

    /// Locks each device's next receivable messages in sequence order. Answers by position.
    /// A message whose last lock lapsed with its deliveries used up is passed over; the sweep
    /// ends it, until then it waits and counts.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: locks may have been taken and lapse by themselves.
    async fn receive(
        &self,
        requests: Vec<Receive>,
        rules: QueueRules,
        now: Timestamp,
    ) -> Result<Vec<Vec<LockedMessage>>, StoreError>;

    /// Settles held messages; when it returns, the outcomes are on disk. Answers by position.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: settlements may have been made; a repeat then answers
    /// [`SettleError::LockLost`].
    async fn settle(
        &self,
        settlements: Vec<Settlement>,
        rules: QueueRules,
        now: Timestamp,
    ) -> Result<Vec<Result<(), SettleError>>, StoreError>;

    /// Removes every message of a device that waits, held ones included; expired ones are left to
    /// the sweep. Stores an audit event (`AuditRecord::of_purge`) in the same transaction, also
    /// when nothing waited. `None` when there is no such device.
    async fn purge(
        &self,
        order: PurgeOrder,
        rules: QueueRules,
    ) -> Result<Option<PurgeOutcome>, StoreError>;

    /// Messages waiting for each device, Enqueued and Invisible, unexpired. By position.
    async fn count(&self, devices: Vec<DeviceKey>, now: Timestamp) -> Result<Vec<u64>, StoreError>;

    /// Makes at most `limit` due expiries and lapsed locks visible, longest due first.
    async fn sweep(
        &self,
        limit: u32,
        rules: QueueRules,
        now: Timestamp,
    ) -> Result<Swept, StoreError>;
}

/// A request for the next feedback batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedbackReceive {
    /// Token for the batch.
    pub token: LockToken,
    /// First instant at which the hold ends.
    pub locked_until: Timestamp,
    /// Records that make a batch ready, and its most.
    pub flush_count: u32,
    /// Age of the oldest waiting record that makes a smaller batch ready.
    pub flush_interval: Duration,
    /// Deliveries before a record is dropped, 1–100.
    pub max_delivery_count: u32,
}

/// The hub-wide feedback queue: competing receivers, each batch goes to one (c2d.md §6.3).
#[async_trait]
pub trait FeedbackStore: Send + Sync {
    /// Locks the oldest receivable records as one batch, `None` when no batch is ready. Its
    /// delivery count is the highest among its records.
    async fn receive_feedback(
        &self,
        hub: HubName,
        request: FeedbackReceive,
        now: Timestamp,
    ) -> Result<Option<FeedbackBatch>, StoreError>;

    /// Settles a held batch: `Complete` and `Reject` remove it, the others give it back, with
    /// `ReleaseUndelivered` as if it had not been received. The hold is lost when its time is
    /// over, or when the life of every record of the batch is.
    async fn settle_feedback(
        &self,
        hub: HubName,
        token: LockToken,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<Result<(), SettleError>, StoreError>;

    /// Drops at most `limit` records whose life or deliveries are used up; returns how many.
    async fn sweep_feedback(
        &self,
        limit: u32,
        max_delivery_count: u32,
        now: Timestamp,
    ) -> Result<u64, StoreError>;
}
