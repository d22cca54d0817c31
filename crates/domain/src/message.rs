//! Cloud-to-device messages: what they carry and the states they pass through (c2d.md §3, §4).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;

use crate::id::{DeviceId, DeviceKey, HubName, LockToken, SequenceNumber};
use crate::time::Timestamp;

pub mod feedback;
pub mod invariant;
#[cfg(any(test, feature = "model"))]
pub mod model;
#[cfg(test)]
mod model_tests;
pub mod transition;

/// Which outcomes the sender wants to hear of (c2d.md §6.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AckMode {
    /// None.
    #[default]
    None,
    /// Completion.
    Positive,
    /// Dead-lettering and purge.
    Negative,
    /// Both.
    Full,
}

impl AckMode {
    /// The documented word, the only spelling that goes to devices.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Positive => "positive",
            Self::Negative => "negative",
            Self::Full => "full",
        }
    }
}

impl FromStr for AckMode {
    type Err = ();

    /// Takes the documented words and Java's, in any case (c2d.md §6.1).
    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_ascii_lowercase().as_str() {
            "none" => Ok(Self::None),
            "positive" | "positiveonly" => Ok(Self::Positive),
            "negative" | "negativeonly" => Ok(Self::Negative),
            "full" => Ok(Self::Full),
            _ => Err(()),
        }
    }
}

/// What a sender may say about a message besides its body (c2d.md §3.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// Id chosen by the sender.
    pub message_id: Option<String>,
    /// Correlation id.
    pub correlation_id: Option<String>,
    /// Address as the sender wrote it.
    pub to: Option<String>,
    /// User id; UTF-8 text.
    pub user_id: Option<String>,
    /// Content type.
    pub content_type: Option<String>,
    /// Content encoding.
    pub content_encoding: Option<String>,
    /// Expiry that the sender set, told to the device; what ends the message is
    /// [`Message::expiry`], which every message has.
    pub expiry: Option<Timestamp>,
    /// Application properties in the sender's order, values as text.
    pub application: Vec<(String, String)>,
}

impl Properties {
    /// Bytes that count towards the size limit: values of system properties, names and values of
    /// application properties (c2d.md §2).
    pub fn counted_bytes(&self) -> usize {
        let system = [
            &self.message_id,
            &self.correlation_id,
            &self.to,
            &self.user_id,
            &self.content_type,
            &self.content_encoding,
        ];
        let system: usize = system.into_iter().flatten().map(String::len).sum();
        let application: usize = self
            .application
            .iter()
            .map(|(k, v)| k.len() + v.len())
            .sum();
        system.saturating_add(application)
    }
}

/// A message to be accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewMessage {
    /// The tenant.
    pub hub: HubName,
    /// Whom it is for.
    pub device: DeviceId,
    /// What it says of itself.
    pub properties: Properties,
    /// Outcomes the sender wants to hear of.
    pub ack: AckMode,
    /// When it ends by itself; `None` takes the hub's default.
    pub expiry: Option<Timestamp>,
    /// The payload.
    pub body: Bytes,
}

impl NewMessage {
    /// Bytes that count towards the size limit.
    pub fn counted_bytes(&self) -> usize {
        self.body
            .len()
            .saturating_add(self.properties.counted_bytes())
    }
}

/// A message in a device's queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Whose queue.
    pub device: DeviceKey,
    /// Place in the queue.
    pub sequence: SequenceNumber,
    /// When it was accepted.
    pub enqueued_at: Timestamp,
    /// When it ends by itself.
    pub expiry: Timestamp,
    /// Failed or running deliveries so far, by [`DeliveryCounting`].
    pub delivery_count: u32,
    /// Outcomes the sender wants to hear of.
    pub ack: AckMode,
    /// What it says of itself.
    pub properties: Properties,
    /// The payload.
    pub body: Bytes,
    /// Where it stands.
    pub state: MessageState,
}

/// Where a message stands (c2d.md §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageState {
    /// Visible to the next receive.
    Enqueued,
    /// Held by one receiver.
    Invisible {
        /// The proof of holding it.
        lock: Lock,
    },
    /// Settled by the device; terminal.
    Completed {
        /// When.
        at: Timestamp,
    },
    /// Ended without success; terminal.
    DeadLettered {
        /// When.
        at: Timestamp,
        /// Why.
        reason: DeadLetterReason,
    },
}

/// Exclusive hold of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Proof.
    pub token: LockToken,
    /// First instant at which it no longer holds.
    pub until: Timestamp,
}

/// Why a message ended without success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeadLetterReason {
    /// Its expiry passed.
    Expired,
    /// Its deliveries are used up.
    DeliveryCountExceeded,
    /// The device rejected it.
    Rejected,
    /// A back-end purged the queue.
    Purged,
}

/// What raises the delivery count (design.md §6, c2d.md note A).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DeliveryCounting {
    /// Every delivery; a message that crashes its device ends somewhere.
    #[default]
    Deliveries,
    /// Only an explicit abandon.
    Abandons,
}

/// The rules of one hub that transitions depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueRules {
    /// What raises the delivery count.
    pub counting: DeliveryCounting,
    /// Deliveries before dead-lettering, 1–100.
    pub max_delivery_count: u32,
    /// How long a feedback record lives.
    pub feedback_ttl: Duration,
}

/// How a held message is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// The device has it.
    Complete,
    /// The device wants it again.
    Abandon,
    /// The device never wants it again.
    Reject,
    /// Its connection ended after the message went out: as a lapsed lock, only sooner.
    ReleaseDelivered,
    /// It was fetched but never left the gateway: as if the receive had not happened.
    ReleaseUndelivered,
}

/// One settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Whose queue.
    pub device: DeviceKey,
    /// Which message.
    pub sequence: SequenceNumber,
    /// Proof of holding it.
    pub token: LockToken,
    /// What becomes of it.
    pub verdict: Verdict,
}

impl fmt::Display for DeadLetterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(feedback::FeedbackStatus::from(*self).as_str())
    }
}
