use proptest::prelude::*;

use super::*;
use crate::types::Timestamp;

fn id() -> impl Strategy<Value = Option<MessageId>> {
    proptest::option::of(prop_oneof![
        any::<u64>().prop_map(MessageId::Ulong),
        any::<[u8; 16]>().prop_map(MessageId::Uuid),
        "[a-z0-9-]{0,300}".prop_map(MessageId::String),
        proptest::collection::vec(any::<u8>(), 0..20)
            .prop_map(|bytes| MessageId::Binary(bytes.into())),
    ])
}

prop_compose! {
    fn message()(
        message_id in id(),
        correlation_id in id(),
        to in proptest::option::of(".{0,40}"),
        expiry in proptest::option::of(any::<i64>()),
        sequence in proptest::option::of(any::<u32>()),
        application in proptest::collection::vec((".{0,9}", ".{0,9}"), 0..5),
        enqueued in proptest::option::of(any::<i64>()),
        data in proptest::collection::vec(any::<u8>(), 0..600),
        parts in 0..3_usize,
        count in any::<u32>(),
    ) -> Message {
        let annotation = |millis| {
            (Symbol::from_static("iothub-enqueuedtime"), Value::Timestamp(Timestamp(millis)))
        };
        let data = Bytes::from(data);
        Message {
            header: Some(Header { delivery_count: count, ..Header::default() }),
            annotations: enqueued.map(annotation).into_iter().collect(),
            properties: Properties {
                message_id,
                correlation_id,
                to,
                absolute_expiry_time: expiry.map(Timestamp),
                group_sequence: sequence,
                ..Properties::default()
            },
            application_properties: application
                .into_iter()
                .map(|(name, value)| (name, Value::String(value)))
                .collect(),
            body: match parts {
                0 => Body::Empty,
                1 => Body::Data(data),
                _ => Body::Batch(vec![data.clone(), data]),
            },
        }
    }
}

proptest! {
    #[test]
    fn every_message_survives_a_round_trip(message in message()) {
        prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn garbage_is_an_error_or_a_message_but_no_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300)
    ) {
        let _ = Message::decode(&Bytes::from(bytes));
    }

    #[test]
    fn damaged_messages_do_not_panic(message in message(), at in any::<usize>(), byte in any::<u8>()) {
        let mut bytes = message.encode().to_vec();
        if !bytes.is_empty() {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let _ = Message::decode(&bytes.into());
    }
}

#[test]
fn cbs_reply_of_the_real_hub_is_read() {
    // Fields of amqp.md §13, 10: correlation-id ulong 0, status-code int 200 (four bytes),
    // status-description OK, no body.
    let mut bytes = vec![
        0x00, 0x53, 0x73, 0xc0, 0x07, 0x06, 0x40, 0x40, 0x40, 0x40, 0x40, 0x44,
    ];
    let mut map = vec![0xa1, 11];
    map.extend(b"status-code");
    map.extend([0x71, 0, 0, 0, 200]);
    map.extend([0xa1, 18]);
    map.extend(b"status-description");
    map.extend([0xa1, 2, b'O', b'K']);
    bytes.extend([
        0x00,
        0x53,
        0x74,
        0xc1,
        u8::try_from(map.len() + 1).unwrap(),
        4,
    ]);
    bytes.extend(map);
    let message = Message::decode(&bytes.clone().into()).unwrap();
    assert_eq!(message.properties.correlation_id, Some(MessageId::Ulong(0)));
    assert_eq!(
        message.application_property("status-code"),
        Some(&Value::Int(200))
    );
    assert_eq!(message.body, Body::Empty);
    // Our own encoder makes the very same bytes of it.
    assert_eq!(
        crate::cbs::encode_reply(Some(MessageId::Ulong(0)), 200, "OK"),
        bytes
    );
}

#[test]
fn body_sections_of_different_kinds_do_not_mix() {
    let data_then_value = [0x00, 0x53, 0x75, 0xa0, 0, 0x00, 0x53, 0x77, 0x40];
    assert!(Message::decode(&Bytes::copy_from_slice(&data_then_value)).is_err());
    let value_then_data = [0x00, 0x53, 0x77, 0x40, 0x00, 0x53, 0x75, 0xa0, 0];
    assert!(Message::decode(&Bytes::copy_from_slice(&value_then_data)).is_err());
}

#[test]
fn sections_named_by_symbol_are_read() {
    let mut bytes = vec![0x00, 0xa3, 16];
    bytes.extend(b"amqp:data:binary");
    bytes.extend([0xa0, 2, 1, 2]);
    let message = Message::decode(&bytes.into()).unwrap();
    assert_eq!(message.body, Body::Data(Bytes::from_static(&[1, 2])));
}

#[test]
fn null_valued_annotation_and_unknown_sections_are_told_apart() {
    let with_null = [0x00, 0x53, 0x72, 0xc1, 5, 2, 0xa3, 1, b'v', 0x40];
    let message = Message::decode(&Bytes::copy_from_slice(&with_null)).unwrap();
    assert_eq!(message.annotation("v"), Some(&Value::Null));
    assert!(Message::decode(&Bytes::from_static(&[0x00, 0x53, 0x42, 0x40])).is_err());
}

#[test]
fn data_section_is_a_slice_of_the_payload() {
    let message = Message {
        body: Body::Data(Bytes::from(vec![7; 1000])),
        ..Message::default()
    };
    let encoded = message.encode();
    let Body::Data(data) = Message::decode(&encoded).unwrap().body else {
        panic!("no data")
    };
    let range = encoded.as_ptr_range();
    assert!(range.contains(&data.as_ptr()));
}
