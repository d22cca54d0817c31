use proptest::prelude::*;

use super::*;
use crate::types::{Symbol, Value};

fn round_trip(performative: &Performative) {
    let mut bytes = Vec::new();
    performative.encode(&mut bytes);
    let mut reader = Reader::new(&bytes);
    assert_eq!(Performative::decode(&mut reader).as_ref(), Ok(performative));
    assert!(reader.is_empty());
}

fn full_error() -> AmqpError {
    AmqpError {
        condition: condition::NOT_FOUND,
        description: Some("x".repeat(300)),
        info: vec![(
            Symbol::from_static("com.microsoft:error-code"),
            Value::Int(404_001),
        )],
    }
}

fn full_attach() -> Attach {
    Attach {
        name: "link".into(),
        handle: 3,
        role: Role::Sender,
        snd_settle_mode: Some(SenderSettleMode::Mixed),
        rcv_settle_mode: Some(ReceiverSettleMode::Second),
        source: Some(Terminus::source("/messages/serviceBound/feedback")),
        target: Some(Terminus::target("t")),
        initial_delivery_count: Some(0),
        max_message_size: Some(1 << 40),
        properties: vec![(
            Symbol::from_static("com.microsoft:timeout"),
            Value::Double(1.5),
        )],
    }
}

fn full_transfer() -> Transfer {
    Transfer {
        handle: 300,
        delivery_id: Some(u32::MAX),
        delivery_tag: DeliveryTag::new(&[9; 32]),
        message_format: Some(0x8001_3700),
        settled: Some(true),
        more: true,
        state: Some(DeliveryState::Received {
            section_number: 1,
            section_offset: 2,
        }),
        aborted: true,
        batchable: true,
    }
}

#[test]
fn every_performative_survives_a_round_trip() {
    let open = Open {
        container_id: String::new(),
        hostname: Some("h".into()),
        max_frame_size: 4096,
        channel_max: 8191,
        idle_time_out: Some(115_000),
    };
    let begin = Begin {
        remote_channel: Some(0),
        next_outgoing_id: 1,
        incoming_window: 5000,
        outgoing_window: u32::MAX,
        handle_max: 262_143,
    };
    let flow = Flow {
        handle: Some(0),
        link_credit: Some(100),
        echo: true,
        ..Flow::default()
    };
    for performative in [
        open.into(),
        begin.into(),
        full_attach().into(),
        flow.into(),
        full_transfer().into(),
        Detach {
            handle: 0,
            closed: true,
            error: Some(full_error()),
        }
        .into(),
        End { error: None }.into(),
        Close {
            error: Some(full_error()),
        }
        .into(),
    ] {
        round_trip(&performative);
    }
}

#[test]
fn every_delivery_state_survives_a_round_trip() {
    for state in [
        DeliveryState::Accepted,
        DeliveryState::Released,
        DeliveryState::Rejected(None),
        DeliveryState::rejected(full_error()),
        DeliveryState::Modified {
            delivery_failed: true,
            undeliverable_here: false,
            annotations: None,
        },
        DeliveryState::Other(0x34),
    ] {
        round_trip(
            &Disposition {
                role: Role::Receiver,
                first: 4,
                last: Some(9),
                settled: true,
                state: Some(state),
            }
            .into(),
        );
    }
}

#[test]
fn frames_of_the_real_hub_are_read() {
    // Fields of amqp.md §13; trailing nulls as an encoder may leave or write them.
    let flow = [
        0x00, 0x53, 0x13, 0xc0, 0x15, 0x0a, 0x43, 0x70, 0, 0, 0x13, 0x88, 0x52, 1, 0x70, 0xff,
        0xff, 0xff, 0xff, 0x43, 0x43, 0x52, 100, 0x43, 0x40, 0x42,
    ];
    let read = Performative::decode(&mut Reader::new(&flow)).unwrap();
    let expected = Flow {
        next_incoming_id: Some(0),
        incoming_window: 5000,
        next_outgoing_id: 1,
        outgoing_window: u32::MAX,
        handle: Some(0),
        delivery_count: Some(0),
        link_credit: Some(100),
        available: Some(0),
        drain: false,
        echo: false,
    };
    assert_eq!(read, expected.into());

    let disposition = [
        0x00, 0x53, 0x15, 0xc0, 0x0a, 0x06, 0x41, 0x43, 0x40, 0x41, 0x00, 0x53, 0x24, 0x45, 0x40,
    ];
    let read = Performative::decode(&mut Reader::new(&disposition)).unwrap();
    let expected = Disposition {
        role: Role::Receiver,
        first: 0,
        last: None,
        settled: true,
        state: Some(DeliveryState::Accepted),
    };
    assert_eq!(read, expected.into());
}

#[test]
fn terminus_is_echoed_byte_for_byte() {
    // A source with a filter map, capabilities and everything this server does not look at.
    let mut source = vec![0x00, 0x53, 0x28];
    Value::List(vec![
        Value::from("/messages/serviceBound/feedback"),
        Value::Uint(0),
        Value::Symbol(Symbol::from_static("session-end")),
        Value::Uint(0),
        Value::Boolean(true),
        Value::Null,
        Value::Null,
        Value::Map(vec![(
            Value::Symbol(Symbol::from_static("f")),
            Value::from("x"),
        )]),
    ])
    .encode_to(&mut source);
    let terminus = Terminus::from_encoded(&source).unwrap();
    assert_eq!(terminus.address(), Some("/messages/serviceBound/feedback"));
    assert!(terminus.is_dynamic());
    assert_eq!(terminus.encoded(), source);
}

#[test]
fn coordinator_and_addresses_of_other_types_name_nothing() {
    let coordinator = [0x00, 0x53, 0x30, 0x45];
    let terminus = Terminus::from_encoded(&coordinator).unwrap();
    assert_eq!(
        (terminus.kind(), terminus.address()),
        (TerminusKind::Coordinator, None)
    );
    let numbered = [0x00, 0x53, 0x29, 0xc0, 2, 1, 0x44];
    assert_eq!(Terminus::from_encoded(&numbered).unwrap().address(), None);
}

#[test]
fn delivery_tags_longer_than_32_bytes_are_refused() {
    assert!(DeliveryTag::new(&[0; 32]).is_some());
    assert!(DeliveryTag::new(&[0; 33]).is_none());
}

proptest! {
    #[test]
    fn garbage_performatives_do_not_panic(
        descriptor in 0x10..0x19_u8,
        bytes in proptest::collection::vec(any::<u8>(), 0..120)
    ) {
        let mut frame = vec![0x00, 0x53, descriptor];
        frame.extend(bytes);
        let _ = Performative::decode(&mut Reader::new(&frame));
    }
}

impl Value {
    fn encode_to(&self, out: &mut Vec<u8>) {
        crate::types::Encode::encode(self, out);
    }
}
