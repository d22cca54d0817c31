//! Calls of the queue service: messages, settlements, feedback, events.

use std::time::Duration;

use bytes::Bytes;
use downlink_domain::event::{Event, EventKind};
use downlink_domain::id::{DeviceKey, GenerationId, IdentityName, SequenceNumber};
use downlink_domain::message::feedback::{FeedbackBatch, FeedbackRecord, FeedbackStatus};
use downlink_domain::message::{
    AckMode, Lock, Message, MessageState, NewMessage, Properties, Settlement,
};
use downlink_ports::{EnqueueError, Enqueued, LockedMessage, ReceiveCall};
use downlink_proto::v1;
use downlink_proto::v1::enqueue_result::Result as EnqueueOutcome;

use super::common::properties_from_wire;
use super::{
    FromWire, HubReader, ToWire, WireError, array16, instant, millis, present, read_all,
    token_from_wire, token_to_wire,
};

/// Bodies up to this size are copied out of the batch they came in: a held message must not keep
/// a whole batch in memory.
const COPIED_BODY_BYTES: usize = 16 * 1024;

impl ToWire for AckMode {
    type Wire = v1::AckMode;

    fn to_wire(self) -> v1::AckMode {
        match self {
            Self::None => v1::AckMode::None,
            Self::Positive => v1::AckMode::Positive,
            Self::Negative => v1::AckMode::Negative,
            Self::Full => v1::AckMode::Full,
        }
    }
}

impl FromWire<v1::AckMode> for AckMode {
    fn from_wire(wire: v1::AckMode) -> Result<Self, WireError> {
        Ok(match wire {
            v1::AckMode::Unspecified | v1::AckMode::None => Self::None,
            v1::AckMode::Positive => Self::Positive,
            v1::AckMode::Negative => Self::Negative,
            v1::AckMode::Full => Self::Full,
        })
    }
}

impl ToWire for Properties {
    type Wire = Option<v1::MessageProperties>;

    fn to_wire(self) -> Option<v1::MessageProperties> {
        Some(v1::MessageProperties {
            message_id: self.message_id,
            correlation_id: self.correlation_id,
            to: self.to,
            user_id: self.user_id,
            content_type: self.content_type,
            content_encoding: self.content_encoding,
            expiry: self.expiry.map(downlink_domain::Timestamp::as_millis),
            application: self.application.to_wire(),
        })
    }
}

/// Rules of properties are the queue's to check: their violation is an answer of its own.
fn properties(wire: Option<v1::MessageProperties>) -> Properties {
    let wire = wire.unwrap_or_default();
    Properties {
        message_id: wire.message_id,
        correlation_id: wire.correlation_id,
        to: wire.to,
        user_id: wire.user_id,
        content_type: wire.content_type,
        content_encoding: wire.content_encoding,
        expiry: wire.expiry.map(downlink_domain::Timestamp::from_millis),
        application: properties_from_wire(wire.application),
    }
}

impl ToWire for NewMessage {
    type Wire = v1::NewMessage;

    fn to_wire(self) -> v1::NewMessage {
        v1::NewMessage {
            hub: self.hub.to_string(),
            device_id: self.device.to_string(),
            properties: self.properties.to_wire(),
            ack: self.ack.to_wire().into(),
            expiry: self.expiry.map(downlink_domain::Timestamp::as_millis),
            body: self.body,
        }
    }
}

impl FromWire<v1::EnqueueCall> for Vec<NewMessage> {
    fn from_wire(wire: v1::EnqueueCall) -> Result<Self, WireError> {
        check_count(wire.messages.len())?;
        let mut hubs = HubReader::default();
        let read = |wire: v1::NewMessage| {
            Ok(NewMessage {
                hub: hubs.read(&wire.hub)?,
                device: wire.device_id.parse()?,
                ack: AckMode::from_wire(wire.ack())?,
                properties: properties(wire.properties),
                expiry: wire
                    .expiry
                    .map(|millis| instant("expiry", millis))
                    .transpose()?,
                body: wire.body,
            })
        };
        wire.messages.into_iter().map(read).collect()
    }
}

fn check_count(count: usize) -> Result<(), WireError> {
    if count > crate::mux::MAX_CALL_ITEMS {
        return Err(WireError::OutOfRange("number of items"));
    }
    Ok(())
}

impl ToWire for Result<Enqueued, EnqueueError> {
    type Wire = v1::EnqueueResult;

    fn to_wire(self) -> v1::EnqueueResult {
        let outcome = match self {
            Ok(enqueued) => EnqueueOutcome::Enqueued(v1::EnqueuedMessage {
                device_key: enqueued.device.0,
                sequence: enqueued.sequence.0,
            }),
            Err(EnqueueError::DeviceNotFound(device)) => {
                EnqueueOutcome::DeviceNotFound(device.to_string())
            }
            Err(EnqueueError::QueueFull { device, max_depth }) => {
                EnqueueOutcome::QueueFull(v1::QueueFull {
                    device_id: device.to_string(),
                    max_depth,
                })
            }
            Err(EnqueueError::TooLarge { bytes, max_bytes }) => {
                EnqueueOutcome::TooLarge(v1::TooLarge {
                    bytes: bytes as u64,
                    max_bytes: max_bytes as u64,
                })
            }
            Err(EnqueueError::InvalidExpiry) => EnqueueOutcome::InvalidExpiry(true),
            Err(EnqueueError::InvalidProperty(text)) => EnqueueOutcome::InvalidProperty(text),
            Err(EnqueueError::Unavailable) => EnqueueOutcome::Unavailable(true),
        };
        v1::EnqueueResult {
            result: Some(outcome),
        }
    }
}

impl FromWire<v1::EnqueueResult> for Result<Enqueued, EnqueueError> {
    fn from_wire(wire: v1::EnqueueResult) -> Result<Self, WireError> {
        Ok(match present("result", wire.result)? {
            EnqueueOutcome::Enqueued(enqueued) => Ok(Enqueued {
                device: DeviceKey(enqueued.device_key),
                sequence: SequenceNumber(enqueued.sequence),
            }),
            EnqueueOutcome::DeviceNotFound(device) => {
                Err(EnqueueError::DeviceNotFound(device.parse()?))
            }
            EnqueueOutcome::QueueFull(full) => Err(EnqueueError::QueueFull {
                device: full.device_id.parse()?,
                max_depth: full.max_depth,
            }),
            EnqueueOutcome::TooLarge(large) => Err(EnqueueError::TooLarge {
                bytes: usize::try_from(large.bytes).unwrap_or(usize::MAX),
                max_bytes: usize::try_from(large.max_bytes).unwrap_or(usize::MAX),
            }),
            EnqueueOutcome::InvalidExpiry(_) => Err(EnqueueError::InvalidExpiry),
            EnqueueOutcome::InvalidProperty(text) => Err(EnqueueError::InvalidProperty(text)),
            EnqueueOutcome::Unavailable(_) => Err(EnqueueError::Unavailable),
        })
    }
}

impl ToWire for ReceiveCall {
    type Wire = v1::ReceiveRequest;

    fn to_wire(self) -> v1::ReceiveRequest {
        v1::ReceiveRequest {
            device_key: self.device.0,
            limit: self.limit.into(),
            lock_millis: self.lock_duration.map(millis),
        }
    }
}

impl FromWire<v1::ReceiveRequest> for ReceiveCall {
    fn from_wire(wire: v1::ReceiveRequest) -> Result<Self, WireError> {
        let limit = u16::try_from(wire.limit)
            .ok()
            .filter(|limit| (1..=1000).contains(limit))
            .ok_or(WireError::OutOfRange("limit"))?;
        Ok(Self {
            device: DeviceKey(wire.device_key),
            limit,
            lock_duration: wire
                .lock_millis
                .map(|millis| Duration::from_millis(millis.into())),
        })
    }
}

impl ToWire for LockedMessage {
    type Wire = v1::HeldMessage;

    fn to_wire(self) -> v1::HeldMessage {
        let message = self.message;
        v1::HeldMessage {
            sequence: message.sequence.0,
            lock_token: token_to_wire(self.lock.token),
            locked_until: self.lock.until.as_millis(),
            enqueued_at: message.enqueued_at.as_millis(),
            expiry: message.expiry.as_millis(),
            delivery_count: message.delivery_count,
            ack: message.ack.to_wire().into(),
            properties: message.properties.to_wire(),
            body: message.body,
        }
    }
}

/// A held message; whose it is follows from its place in the reply.
impl FromWire<(DeviceKey, v1::HeldMessage)> for LockedMessage {
    fn from_wire((device, wire): (DeviceKey, v1::HeldMessage)) -> Result<Self, WireError> {
        let lock = Lock {
            token: token_from_wire(&wire.lock_token)?,
            until: instant("locked_until", wire.locked_until)?,
        };
        let ack = AckMode::from_wire(wire.ack())?;
        let body = if wire.body.len() <= COPIED_BODY_BYTES {
            Bytes::copy_from_slice(&wire.body)
        } else {
            wire.body
        };
        let message = Message {
            device,
            sequence: SequenceNumber(wire.sequence),
            enqueued_at: instant("enqueued_at", wire.enqueued_at)?,
            expiry: instant("expiry", wire.expiry)?,
            delivery_count: wire.delivery_count,
            ack,
            properties: properties(wire.properties),
            body,
            state: MessageState::Invisible { lock },
        };
        Ok(Self { message, lock })
    }
}

impl ToWire for Settlement {
    type Wire = v1::Settlement;

    fn to_wire(self) -> v1::Settlement {
        v1::Settlement {
            device_key: self.device.0,
            sequence: self.sequence.0,
            lock_token: token_to_wire(self.token),
            verdict: self.verdict.to_wire().into(),
        }
    }
}

impl FromWire<v1::Settlement> for Settlement {
    fn from_wire(wire: v1::Settlement) -> Result<Self, WireError> {
        Ok(Self {
            device: DeviceKey(wire.device_key),
            sequence: SequenceNumber(wire.sequence),
            token: token_from_wire(&wire.lock_token)?,
            verdict: FromWire::from_wire(wire.verdict())?,
        })
    }
}

impl ToWire for Event {
    type Wire = v1::Event;

    fn to_wire(self) -> v1::Event {
        let kind = match self.kind {
            EventKind::Telemetry => v1::EventKind::Telemetry,
            EventKind::Feedback => v1::EventKind::Feedback,
            EventKind::TwinChange => v1::EventKind::TwinChange,
            EventKind::DeviceLifecycle => v1::EventKind::DeviceLifecycle,
            EventKind::Connection => v1::EventKind::Connection,
            EventKind::Audit => v1::EventKind::Audit,
        };
        let module = self.module;
        let name = self.device.map(|device| IdentityName { device, module });
        v1::Event {
            id: Bytes::copy_from_slice(&self.id),
            hub: self.hub.to_string(),
            device_key: self.device_key.0,
            name: name.map(ToWire::to_wire),
            kind: kind.into(),
            at: self.at.as_millis(),
            properties: self.properties.to_wire(),
            body: self.body,
        }
    }
}

impl FromWire<v1::RecordEventsCall> for Vec<Event> {
    fn from_wire(wire: v1::RecordEventsCall) -> Result<Self, WireError> {
        check_count(wire.events.len())?;
        let mut hubs = HubReader::default();
        let read = |wire: v1::Event| event(wire, &mut hubs);
        wire.events.into_iter().map(read).collect()
    }
}

fn event(wire: v1::Event, hubs: &mut HubReader) -> Result<Event, WireError> {
    let kind = match wire.kind() {
        v1::EventKind::Unspecified => return Err(WireError::Unknown("kind")),
        v1::EventKind::Telemetry => EventKind::Telemetry,
        v1::EventKind::Feedback => EventKind::Feedback,
        v1::EventKind::TwinChange => EventKind::TwinChange,
        v1::EventKind::DeviceLifecycle => EventKind::DeviceLifecycle,
        v1::EventKind::Connection => EventKind::Connection,
        v1::EventKind::Audit => EventKind::Audit,
    };
    let device_key = DeviceKey(wire.device_key);
    let (device, module) = match wire.name {
        None if device_key == Event::HUB_KEY => (None, None),
        name => {
            let name = IdentityName::from_wire(name)?;
            (Some(name.device), name.module)
        }
    };
    Ok(Event {
        id: array16("id", &wire.id)?,
        hub: hubs.read(&wire.hub)?,
        device_key,
        device,
        module,
        kind,
        at: instant("at", wire.at)?,
        properties: properties_from_wire(wire.properties),
        body: wire.body,
    })
}

impl ToWire for FeedbackBatch {
    type Wire = v1::FeedbackBatch;

    fn to_wire(self) -> v1::FeedbackBatch {
        v1::FeedbackBatch {
            lock_token: token_to_wire(self.token),
            locked_until: self.locked_until.as_millis(),
            enqueued_at: self.enqueued_at.as_millis(),
            delivery_count: self.delivery_count,
            records: self.records.into_iter().map(ToWire::to_wire).collect(),
        }
    }
}

impl FromWire<v1::FeedbackBatch> for FeedbackBatch {
    fn from_wire(wire: v1::FeedbackBatch) -> Result<Self, WireError> {
        if wire.records.is_empty() {
            return Err(WireError::Missing("records"));
        }
        Ok(Self {
            token: token_from_wire(&wire.lock_token)?,
            locked_until: instant("locked_until", wire.locked_until)?,
            enqueued_at: instant("enqueued_at", wire.enqueued_at)?,
            delivery_count: wire.delivery_count,
            records: read_all(wire.records)?,
        })
    }
}

impl ToWire for FeedbackRecord {
    type Wire = v1::FeedbackRecord;

    fn to_wire(self) -> v1::FeedbackRecord {
        let status = match self.status {
            FeedbackStatus::Success => v1::FeedbackStatus::Success,
            FeedbackStatus::Expired => v1::FeedbackStatus::Expired,
            FeedbackStatus::DeliveryCountExceeded => v1::FeedbackStatus::DeliveryCountExceeded,
            FeedbackStatus::Rejected => v1::FeedbackStatus::Rejected,
            FeedbackStatus::Purged => v1::FeedbackStatus::Purged,
        };
        v1::FeedbackRecord {
            hub: self.hub.to_string(),
            device_key: self.device_key.0,
            device_id: self.device.to_string(),
            generation: self.generation.0,
            original_message_id: self.original_message_id,
            at: self.at.as_millis(),
            status: status.into(),
        }
    }
}

impl FromWire<v1::FeedbackRecord> for FeedbackRecord {
    fn from_wire(wire: v1::FeedbackRecord) -> Result<Self, WireError> {
        let status = match wire.status() {
            v1::FeedbackStatus::Unspecified => return Err(WireError::Unknown("status")),
            v1::FeedbackStatus::Success => FeedbackStatus::Success,
            v1::FeedbackStatus::Expired => FeedbackStatus::Expired,
            v1::FeedbackStatus::DeliveryCountExceeded => FeedbackStatus::DeliveryCountExceeded,
            v1::FeedbackStatus::Rejected => FeedbackStatus::Rejected,
            v1::FeedbackStatus::Purged => FeedbackStatus::Purged,
        };
        Ok(Self {
            hub: wire.hub.parse()?,
            device_key: DeviceKey(wire.device_key),
            device: wire.device_id.parse()?,
            generation: GenerationId(wire.generation),
            original_message_id: wire.original_message_id,
            at: instant("at", wire.at)?,
            status,
        })
    }
}
