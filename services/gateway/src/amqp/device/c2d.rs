//! Messages for a device as AMQP messages, and its word on them (amqp.md §5).

use bytes::Bytes;
use downlink_amqp::message::{Body, Encoded, Message, MessageId, Properties};
use downlink_amqp::performative::{DeliveryState, DeliveryTag};
use downlink_amqp::types::{Symbol, Timestamp as AmqpTimestamp, Value};
use downlink_domain::Timestamp;
use downlink_domain::id::LockToken;
use downlink_domain::message::{AckMode, Message as Stored, Verdict};
use downlink_ports::LockedMessage;

const ENQUEUED_TIME: Symbol = Symbol::from_static("iothub-enqueuedtime");
const DELIVERY_COUNT: Symbol = Symbol::from_static("iothub-deliverycount");
const SEQUENCE_NUMBER: Symbol = Symbol::from_static("x-opt-sequence-number");
const LOCK_TOKEN: Symbol = Symbol::from_static("x-opt-lock-token");
/// Application property that carries the ack mode.
const ACK: &str = "iothub-ack";

/// Returns the encoded message. Its types are those that some SDK insists on: `ubyte` for the
/// count, `ulong` for the number, text only among the application properties, one Data section.
pub(super) fn encode(locked: &LockedMessage) -> Encoded {
    let message = &locked.message;
    Message {
        annotations: annotations_of(locked),
        properties: properties_of(message),
        application_properties: application_of(message),
        body: Body::Data(message.body.clone()),
        ..Message::default()
    }
    .into_encoded()
}

fn annotations_of(locked: &LockedMessage) -> Vec<(Symbol, Value)> {
    let message = &locked.message;
    let count = u8::try_from(message.delivery_count).unwrap_or(u8::MAX);
    let enqueued_at = to_amqp(message.enqueued_at);
    let token = locked.lock.token.to_string();
    vec![
        (ENQUEUED_TIME, Value::Timestamp(enqueued_at)),
        (DELIVERY_COUNT, Value::Ubyte(count)),
        (SEQUENCE_NUMBER, Value::Ulong(message.sequence.0)),
        (LOCK_TOKEN, Value::String(token)),
    ]
}

fn properties_of(message: &Stored) -> Properties {
    let told = &message.properties;
    Properties {
        message_id: told.message_id.clone().map(MessageId::String),
        correlation_id: told.correlation_id.clone().map(MessageId::String),
        to: told.to.clone(),
        user_id: told.user_id.clone().map(Bytes::from),
        // What is not ASCII is no symbol, and such a type means nothing to anybody.
        content_type: told.content_type.clone().and_then(Symbol::new),
        content_encoding: told.content_encoding.clone().and_then(Symbol::new),
        absolute_expiry_time: Some(to_amqp(message.expiry)),
        ..Properties::default()
    }
}

fn application_of(message: &Stored) -> Vec<(String, Value)> {
    let ack = match message.ack {
        AckMode::None => None,
        AckMode::Positive | AckMode::Negative | AckMode::Full => Some(message.ack.as_str()),
    };
    let ack = ack.map(|word| (ACK.to_owned(), Value::from(word)));
    let own = &message.properties.application;
    let own = own.iter().filter(|(name, _)| name != ACK);
    let own = own.map(|(name, value)| (name.clone(), Value::from(value.as_str())));
    ack.into_iter().chain(own).collect()
}

fn to_amqp(at: Timestamp) -> AmqpTimestamp {
    AmqpTimestamp(at.as_millis())
}

/// Returns the delivery tag of a message: its lock token, from which C# makes a GUID.
pub(super) fn tag_of(token: LockToken) -> DeliveryTag {
    DeliveryTag::new(&token.0).expect("a lock token has 16 of the 32 bytes of a tag")
}

/// Returns the lock token that [`tag_of`] has made a tag of.
pub(super) fn token_of(tag: &DeliveryTag) -> Option<LockToken> {
    tag.as_slice().try_into().ok().map(LockToken)
}

/// Returns what the device's word means for the message; `None` when it says nothing yet.
pub(super) fn verdict_of(state: Option<&DeliveryState>, is_settled: bool) -> Option<Verdict> {
    match state {
        Some(DeliveryState::Accepted) => Some(Verdict::Complete),
        Some(
            DeliveryState::Rejected(_)
            | DeliveryState::Modified {
                undeliverable_here: true,
                ..
            },
        ) => Some(Verdict::Reject),
        Some(DeliveryState::Released | DeliveryState::Modified { .. }) => Some(Verdict::Abandon),
        // Settled without an outcome: the device has let go of it.
        Some(DeliveryState::Received { .. } | DeliveryState::Other(_)) | None => {
            is_settled.then_some(Verdict::Abandon)
        }
    }
}

#[cfg(test)]
mod tests {
    use downlink_amqp::performative::{AmqpError, condition};
    use downlink_domain::id::{DeviceKey, SequenceNumber};
    use downlink_domain::message::{Lock, MessageState, Properties as Told};
    use downlink_testkit::noon;

    use super::*;

    const TOKEN: LockToken = LockToken([
        0xe4, 0x03, 0xe0, 0x1a, 0xfb, 0x61, 0xc1, 0x4b, 0x92, 0x10, 0x1e, 0x16, 0x35, 0x35, 0x07,
        0x96,
    ]);

    fn locked() -> LockedMessage {
        let lock = Lock {
            token: TOKEN,
            until: noon(),
        };
        let message = Stored {
            device: DeviceKey(1),
            sequence: SequenceNumber(300),
            enqueued_at: noon(),
            expiry: Timestamp::from_millis(noon().as_millis() + 1),
            delivery_count: 2,
            ack: AckMode::Full,
            properties: Told {
                message_id: Some("m-1".into()),
                correlation_id: Some("c-1".into()),
                to: Some("/devices/d/messages/devicebound".into()),
                user_id: Some("müller".into()),
                content_type: Some("application/json".into()),
                content_encoding: Some("utf-8".into()),
                expiry: None,
                application: vec![
                    ("level".into(), "3".into()),
                    ("empty".into(), String::new()),
                ],
            },
            body: Bytes::from_static(b"payload"),
            state: MessageState::Invisible { lock },
        };
        LockedMessage { message, lock }
    }

    #[track_caller]
    fn decoded(locked: &LockedMessage) -> Message {
        Message::decode(&encode(locked).to_bytes()).unwrap()
    }

    #[test]
    fn annotations_have_the_types_that_csharp_reads() {
        let message = decoded(&locked());
        let enqueued_at = AmqpTimestamp(noon().as_millis());
        for (name, value) in [
            ("iothub-enqueuedtime", Value::Timestamp(enqueued_at)),
            ("iothub-deliverycount", Value::Ubyte(2)),
            ("x-opt-sequence-number", Value::Ulong(300)),
            (
                "x-opt-lock-token",
                Value::from("1ae003e4-61fb-4bc1-9210-1e1635350796"),
            ),
        ] {
            assert_eq!(message.annotation(name), Some(&value), "{name}");
        }
    }

    #[test]
    fn properties_are_those_of_the_sender_and_the_expiry_is_the_one_in_force() {
        let message = decoded(&locked());
        let expected = Properties {
            message_id: Some("m-1".into()),
            correlation_id: Some("c-1".into()),
            to: Some("/devices/d/messages/devicebound".into()),
            user_id: Some("müller".into()),
            content_type: Some(Symbol::from_static("application/json")),
            content_encoding: Some(Symbol::from_static("utf-8")),
            absolute_expiry_time: Some(AmqpTimestamp(noon().as_millis() + 1)),
            ..Properties::default()
        };
        assert_eq!(message.properties, expected);
    }

    #[test]
    fn application_properties_are_text_and_the_ack_mode_comes_once() {
        let mut locked = locked();
        let own = &mut locked.message.properties.application;
        own.push(("iothub-ack".into(), "forged".into()));
        let application = decoded(&locked).application_properties;
        let expected = [("iothub-ack", "full"), ("level", "3"), ("empty", "")];
        let expected = expected.map(|(name, value)| (name.to_owned(), Value::from(value)));
        assert_eq!(application, expected);
        locked.message.ack = AckMode::None;
        let message = decoded(&locked);
        assert_eq!(message.application_property("iothub-ack"), None);
    }

    #[test]
    fn the_body_is_one_data_section_even_without_a_byte() {
        assert_eq!(decoded(&locked()).body, Body::Data("payload".into()));
        let mut empty = locked();
        empty.message.body = Bytes::new();
        assert_eq!(decoded(&empty).body, Body::Data(Bytes::new()));
    }

    #[test]
    fn sections_stand_in_the_order_of_the_standard() {
        let encoded = encode(&locked()).to_bytes();
        let at = |code: u8| encoded.windows(3).position(|at| at == [0, 0x53, code]);
        let order = [0x72, 0x73, 0x74, 0x75].map(|code| at(code).unwrap());
        assert_eq!(order[0], 0, "no header comes first");
        assert!(order.is_sorted(), "{order:?}");
    }

    #[test]
    fn values_out_of_the_ordinary_do_not_spoil_the_message() {
        let mut locked = locked();
        locked.message.delivery_count = 1000;
        locked.message.properties.content_type = Some("text/é".into());
        let message = decoded(&locked);
        let count = message.annotation("iothub-deliverycount");
        assert_eq!(count, Some(&Value::Ubyte(255)));
        assert_eq!(message.properties.content_type, None);
    }

    #[test]
    fn the_tag_is_the_lock_token_byte_for_byte() {
        assert_eq!(tag_of(TOKEN).as_slice(), TOKEN.0);
        assert_eq!(token_of(&tag_of(TOKEN)), Some(TOKEN));
        assert_eq!(token_of(&DeliveryTag::new(&[1; 4]).unwrap()), None);
    }

    #[test]
    fn every_outcome_has_its_verdict_and_silence_has_none() {
        let blanks = Symbol::from_static("Rejected by application");
        let modified = |undeliverable_here| DeliveryState::Modified {
            delivery_failed: true,
            undeliverable_here,
            annotations: None,
        };
        for (state, verdict) in [
            (DeliveryState::Accepted, Verdict::Complete),
            (DeliveryState::Released, Verdict::Abandon),
            (modified(false), Verdict::Abandon),
            (modified(true), Verdict::Reject),
            (DeliveryState::Rejected(None), Verdict::Reject),
            (
                DeliveryState::rejected(AmqpError::new(blanks, "no")),
                Verdict::Reject,
            ),
            (
                DeliveryState::rejected(AmqpError::new(condition::NOT_ALLOWED, "no")),
                Verdict::Reject,
            ),
        ] {
            for is_settled in [true, false] {
                assert_eq!(verdict_of(Some(&state), is_settled), Some(verdict));
            }
        }
        let received = DeliveryState::Received {
            section_number: 0,
            section_offset: 0,
        };
        assert_eq!(verdict_of(Some(&received), false), None);
        assert_eq!(verdict_of(None, false), None);
        assert_eq!(verdict_of(None, true), Some(Verdict::Abandon));
    }
}
