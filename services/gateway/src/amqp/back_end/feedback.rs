//! Feedback batches as AMQP messages (amqp.md §8.4, c2d.md §6.3).

use bytes::Bytes;
use downlink_amqp::message::{Body, Message, MessageId, Properties};
use downlink_amqp::performative::DeliveryState;
use downlink_amqp::types::{Symbol, Timestamp as AmqpTimestamp, Value};
use downlink_domain::id::HubName;
use downlink_domain::message::Verdict;
use downlink_domain::message::feedback::{FeedbackBatch, FeedbackRecord};
use serde::Serialize;

const CONTENT_TYPE: Symbol = Symbol::from_static("application/vnd.microsoft.iothub.feedback.json");
const ENQUEUED_TIME: Symbol = Symbol::from_static("iothub-enqueuedtime");

/// One record on the wire.
///
/// Java reads the bytes through a printer that spoils everything but printable ASCII, and the
/// backslash too. All fields keep to that: ids by their alphabet, the rest by construction.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    original_message_id: Option<&'a str>,
    description: &'static str,
    status_code: &'static str,
    device_id: &'a str,
    device_generation_id: String,
    enqueued_time_utc: String,
}

impl<'a> From<&'a FeedbackRecord> for Record<'a> {
    fn from(record: &'a FeedbackRecord) -> Self {
        Self {
            original_message_id: record.original_message_id.as_deref(),
            // C derives the status from the description, so both say the same.
            description: record.status.as_str(),
            status_code: record.status.as_str(),
            device_id: record.device.as_str(),
            device_generation_id: record.generation.to_string(),
            enqueued_time_utc: record.at.to_string(),
        }
    }
}

/// Returns the encoded message that carries `batch`; C# needs its content type, user id and
/// enqueued time.
pub(super) fn encode(batch: &FeedbackBatch, hub: &HubName, message_id: [u8; 16]) -> Bytes {
    let records: Vec<Record<'_>> = batch.records.iter().map(Record::from).collect();
    let json = serde_json::to_vec(&records).expect("records are plain text fields");
    let enqueued_at = AmqpTimestamp(batch.enqueued_at.as_millis());
    Message {
        annotations: vec![(ENQUEUED_TIME, Value::Timestamp(enqueued_at))],
        properties: Properties {
            message_id: MessageId::Uuid(message_id).to_text().map(MessageId::String),
            user_id: Some(Bytes::copy_from_slice(hub.first_label().as_bytes())),
            content_type: Some(CONTENT_TYPE),
            creation_time: Some(enqueued_at),
            ..Properties::default()
        },
        body: Body::Data(json.into()),
        ..Message::default()
    }
    .encode()
}

/// Returns what the receiver's word means for the batch; `None` when it says nothing yet.
pub(super) fn verdict_of(state: Option<&DeliveryState>, is_settled: bool) -> Option<Verdict> {
    match state {
        Some(DeliveryState::Accepted) => Some(Verdict::Complete),
        Some(DeliveryState::Rejected(_)) => Some(Verdict::Reject),
        Some(DeliveryState::Released | DeliveryState::Modified { .. }) => Some(Verdict::Abandon),
        // Settled without an outcome: the receiver has let go of it.
        Some(DeliveryState::Received { .. } | DeliveryState::Other(_)) | None => {
            is_settled.then_some(Verdict::Abandon)
        }
    }
}

#[cfg(test)]
mod tests {
    use downlink_domain::Timestamp;
    use downlink_domain::id::{DeviceKey, GenerationId, LockToken};
    use downlink_domain::message::feedback::FeedbackStatus;

    use super::*;

    fn batch() -> FeedbackBatch {
        let at = Timestamp::from_millis(1_767_604_351_412);
        let hub: HubName = "hub1.example.net".parse().unwrap();
        let record = FeedbackRecord {
            hub,
            device_key: DeviceKey(1),
            device: "dev-1".parse().unwrap(),
            generation: GenerationId(637_345_907_161_634_714),
            original_message_id: Some("cmd-17".into()),
            at,
            status: FeedbackStatus::DeliveryCountExceeded,
        };
        let nameless = FeedbackRecord {
            original_message_id: None,
            ..record.clone()
        };
        FeedbackBatch {
            token: LockToken([7; 16]),
            locked_until: at,
            enqueued_at: at,
            delivery_count: 0,
            records: vec![record, nameless],
        }
    }

    #[test]
    fn message_has_every_part_the_sdks_check() {
        let hub: HubName = "hub1.example.net".parse().unwrap();
        let message = Message::decode(&encode(&batch(), &hub, [9; 16])).unwrap();
        assert_eq!(message.properties.content_type.unwrap(), CONTENT_TYPE);
        assert_eq!(message.properties.user_id.unwrap(), "hub1");
        let enqueued = Value::Timestamp(AmqpTimestamp(1_767_604_351_412));
        assert_eq!(message.annotations, [(ENQUEUED_TIME, enqueued)]);
        let Body::Data(json) = message.body else {
            panic!("no data section")
        };
        let expected = "[{\"originalMessageId\":\"cmd-17\",\
            \"description\":\"DeliveryCountExceeded\",\"statusCode\":\"DeliveryCountExceeded\",\
            \"deviceId\":\"dev-1\",\"deviceGenerationId\":\"637345907161634714\",\
            \"enqueuedTimeUtc\":\"2026-01-05T09:12:31.4120000Z\"},\
            {\"originalMessageId\":null,\
            \"description\":\"DeliveryCountExceeded\",\"statusCode\":\"DeliveryCountExceeded\",\
            \"deviceId\":\"dev-1\",\"deviceGenerationId\":\"637345907161634714\",\
            \"enqueuedTimeUtc\":\"2026-01-05T09:12:31.4120000Z\"}]";
        assert_eq!(json, expected);
        assert!(
            json.iter()
                .all(|byte| (0x20..0x7f).contains(byte) && *byte != b'\\')
        );
    }

    #[test]
    fn outcomes_are_verdicts() {
        let verdict = |state: DeliveryState| verdict_of(Some(&state), false);
        assert_eq!(verdict(DeliveryState::Accepted), Some(Verdict::Complete));
        assert_eq!(verdict(DeliveryState::Released), Some(Verdict::Abandon));
        assert_eq!(
            verdict(DeliveryState::Rejected(None)),
            Some(Verdict::Reject)
        );
        let modified = DeliveryState::Modified {
            delivery_failed: true,
            undeliverable_here: false,
            annotations: None,
        };
        assert_eq!(verdict(modified), Some(Verdict::Abandon));
        assert_eq!(verdict_of(None, false), None);
        assert_eq!(verdict_of(None, true), Some(Verdict::Abandon));
    }
}
