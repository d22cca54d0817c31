//! rhea: no SASL, one session for everything, unset settle modes, everything pipelined.

use super::*;

#[test]
fn everything_pipelined_in_one_flight_and_split_at_every_byte_gives_the_same() {
    let mut flight = ProtocolHeader::Amqp.bytes().to_vec();
    flight.extend(encode(0, &open(u32::MAX, None).into(), &[]));
    flight.extend(encode(0, &begin().into(), &[]));
    flight.extend(encode(0, &sender_attach(0, "$cbs").into(), &[]));
    flight.extend(encode(0, &receiver_attach(1, "$cbs").into(), &[]));
    flight.extend(encode(0, &credit_flow(1, 0, 1000).into(), &[]));

    let conversation = |chunks: &[&[u8]]| {
        let mut peer = Peer::new(Options::default());
        for chunk in chunks {
            peer.bytes(chunk);
        }
        let mut events = Vec::new();
        while let Some(event) = peer.engine.poll_event() {
            if let Event::AttachRequested(request) = &event {
                peer.engine.accept(request.link, TERMS);
            }
            events.push(event);
        }
        (events, peer.engine.output().to_vec())
    };
    let whole = conversation(&[&flight]);
    assert!(matches!(
        whole.0.last(),
        Some(Event::CreditChanged { credit: 1000, .. })
    ));
    for at in 0..=flight.len() {
        let (left, right) = flight.split_at(at);
        assert_eq!(conversation(&[left, right]), whole);
    }
    let single_bytes: Vec<&[u8]> = flight.chunks(1).collect();
    assert_eq!(conversation(&single_bytes), whole);
}

#[test]
fn put_token_is_confirmed_before_its_reply() {
    let mut peer = Peer::open(u32::MAX);
    let sender = peer.attach_sender(0, 100, 16_384);
    let receiver = peer.attach_receiver(receiver_attach(1, "$cbs"), 1000);
    let mut token = Vec::new();
    "SharedAccessSignature sr=hub1&sig=x&se=1&skn=service".encode(&mut token);
    let request = Message {
        properties: Properties {
            message_id: Some("m-1".into()),
            ..Properties::default()
        },
        application_properties: vec![("operation".into(), Value::from("put-token"))],
        body: Body::Value(token.into()),
        ..Message::default()
    };
    peer.write_with(0, transfer(0, 0), &request.encode());

    let message = peer.message();
    let read = crate::cbs::CbsRequest::decode(&message.payload).unwrap();
    peer.engine
        .settle(sender, message.delivery, DeliveryState::Accepted);
    let reply = crate::cbs::encode_reply(read.message_id, 200, "OK");
    peer.engine
        .send(receiver, tag(1), reply, SendSettled::No)
        .unwrap();

    let expected = receipt(0, None, true, DeliveryState::Accepted);
    assert_eq!(peer.expect_disposition(), expected);
    let (transfer, payload) = peer.expect_transfer();
    assert_eq!(
        (transfer.delivery_id, transfer.message_format),
        (Some(0), Some(0))
    );
    let reply = Message::decode(&payload).unwrap();
    assert_eq!(reply.properties.correlation_id, Some("m-1".into()));
}

#[test]
fn session_flows_carry_next_incoming_id_and_refill_the_window_at_half() {
    let options = Options {
        session_window: 10,
        ..Options::default()
    };
    let mut peer = Peer::open_with(options, u32::MAX);
    peer.attach_sender(0, 100, 1024);
    for id in 0..4 {
        peer.write_with(0, transfer(0, id), b"x");
    }
    peer.expect_nothing();
    peer.write_with(0, transfer(0, 4), b"x");
    let flow = peer.expect_flow();
    assert_eq!((flow.next_incoming_id, flow.incoming_window), (Some(5), 10));
    assert_eq!(flow.handle, None);
}

#[test]
fn delivery_ids_are_consecutive_over_all_links_of_the_session() {
    let mut peer = Peer::open(u32::MAX);
    let first = peer.attach_receiver(receiver_attach(0, FEEDBACK), 10);
    let second = peer.attach_receiver(receiver_attach(1, "$cbs"), 10);
    for (number, link) in [(0, first), (1, second), (2, second), (3, first)] {
        peer.engine
            .send(link, tag(number), data("x"), SendSettled::No)
            .unwrap();
    }
    for id in 0..4 {
        assert_eq!(peer.expect_transfer().0.delivery_id, Some(id));
    }
}

#[test]
fn second_disposition_for_a_settled_delivery_is_passed_over() {
    let mut peer = Peer::open(u32::MAX);
    let link = peer.attach_receiver(receiver_attach(0, FEEDBACK), 10);
    let id = peer
        .engine
        .send(link, tag(1), data("x"), SendSettled::No)
        .unwrap();
    peer.write(0, receipt(0, None, true, DeliveryState::Accepted));
    assert_eq!(
        peer.event(),
        Event::DispositionReceived {
            link,
            deliveries: vec![UnsettledDelivery {
                delivery: id,
                tag: tag(1)
            }],
            state: Some(DeliveryState::Accepted),
            is_settled: true,
        }
    );
    peer.write(0, receipt(0, Some(7), true, DeliveryState::Accepted));
    peer.no_event();
}

#[test]
fn refusal_is_an_echo_with_null_terminus_and_a_closing_detach() {
    let mut peer = Peer::open(u32::MAX);
    peer.write(0, receiver_attach(3, "/nowhere"));
    let request = peer.attach_request();
    assert_eq!(
        (request.role, request.address.as_deref()),
        (Role::Sender, Some("/nowhere"))
    );
    peer.engine.refuse(
        request.link,
        AmqpError::new(condition::NOT_FOUND, "no such address"),
    );
    let echo = peer.expect_attach();
    assert_eq!(
        (echo.source, echo.role, echo.handle),
        (None, Role::Sender, 3)
    );
    assert_eq!(echo.initial_delivery_count, Some(0));
    let detach = peer.expect_detach();
    assert!(detach.closed);
    assert_eq!(detach.error.unwrap().condition, condition::NOT_FOUND);

    // The client answers; only then is the handle free again.
    peer.write(
        0,
        Detach {
            handle: 3,
            closed: true,
            error: None,
        },
    );
    peer.expect_nothing();
    peer.no_event();
    peer.write(0, receiver_attach(3, FEEDBACK));
    peer.attach_request();

    peer.write(0, sender_attach(4, "/nowhere"));
    let request = peer.attach_request();
    peer.engine.refuse(
        request.link,
        AmqpError::new(condition::NOT_FOUND, "no such address"),
    );
    assert_eq!(peer.expect_attach().target, None);
}

#[test]
fn detach_end_and_close_are_each_answered() {
    let mut peer = Peer::open(u32::MAX);
    let link = peer.attach_receiver(receiver_attach(0, FEEDBACK), 10);
    let id = peer
        .engine
        .send(link, tag(9), data("x"), SendSettled::No)
        .unwrap();
    peer.expect_transfer();
    peer.write(
        0,
        Detach {
            handle: 0,
            closed: true,
            error: None,
        },
    );
    assert_eq!(
        peer.expect_detach(),
        Detach {
            handle: 0,
            closed: true,
            error: None
        }
    );
    let unsettled = vec![UnsettledDelivery {
        delivery: id,
        tag: tag(9),
    }];
    assert_eq!(
        peer.event(),
        Event::Detached {
            link,
            error: None,
            unsettled
        }
    );
    assert_eq!(
        peer.engine.send(link, tag(1), data("x"), SendSettled::No),
        Err(SendError::Detached)
    );

    peer.write(0, End::default());
    assert_eq!(peer.expect().performative, End::default().into());
    peer.write(0, Close::default());
    assert_eq!(peer.expect().performative, Close::default().into());
    assert!(peer.engine.is_finished());
    assert_eq!(
        peer.event(),
        Event::Closed {
            cause: CloseCause::Peer,
            error: None
        }
    );
}
