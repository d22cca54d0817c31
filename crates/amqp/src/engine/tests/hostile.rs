use proptest::prelude::*;

use super::*;

/// Feeds `bytes` and follows the engine's events as an obliging caller would.
fn feed(engine: &mut Engine, bytes: &[u8], now: Instant) {
    engine.receive(bytes, now);
    while let Some(event) = engine.poll_event() {
        match event {
            Event::SaslPlain(_) | Event::SaslExternal => engine.answer_sasl(SaslCode::Ok, now),
            Event::AttachRequested(request) => engine.accept(request.link, TERMS),
            Event::MessageReceived(message) => {
                let _ = Message::decode(&message.payload);
                engine.settle(message.link, message.delivery, DeliveryState::Accepted);
            }
            Event::CreditChanged { link, is_drain, .. } => {
                let _ = engine.send(link, tag(1), data("x"), SendSettled::No);
                if is_drain {
                    engine.drained(link);
                }
            }
            Event::DispositionReceived {
                link, deliveries, ..
            } => {
                for delivery in deliveries {
                    engine.settle_outgoing(link, delivery.delivery, DeliveryState::Accepted);
                }
            }
            Event::Opened { .. }
            | Event::WindowOpened { .. }
            | Event::Detached { .. }
            | Event::Closed { .. } => {}
        }
    }
}

fn any_performative() -> impl Strategy<Value = Performative> {
    prop_oneof![
        Just(begin().into()),
        (0..4_u32, any::<bool>()).prop_map(|(handle, sends)| {
            if sends {
                sender_attach(handle, "a")
            } else {
                receiver_attach(handle, "b")
            }
            .into()
        }),
        any_flow().prop_map(Into::into),
        any_transfer().prop_map(Into::into),
        any_disposition().prop_map(Into::into),
        (0..4_u32).prop_map(|handle| Detach {
            handle,
            closed: true,
            error: None
        }
        .into()),
        Just(End::default().into()),
    ]
}

fn any_flow() -> impl Strategy<Value = Flow> {
    prop_oneof![
        (
            0..4_u32,
            any::<u32>(),
            any::<u32>(),
            any::<bool>(),
            any::<bool>()
        )
            .prop_map(|(handle, count, credit, drain, echo)| {
                Flow {
                    drain,
                    echo,
                    ..credit_flow(handle, count, credit)
                }
            }),
        (0..4_u32, any::<u32>(), any::<u32>()).prop_map(|(incoming_window, next, id)| Flow {
            next_incoming_id: Some(next),
            incoming_window,
            next_outgoing_id: id,
            ..Flow::default()
        }),
    ]
}

fn any_transfer() -> impl Strategy<Value = Transfer> {
    prop_oneof![
        (0..4_u32, 0..9_u32, any::<bool>(), any::<bool>()).prop_map(
            |(handle, id, more, aborted)| Transfer {
                more,
                aborted,
                ..transfer(handle, id)
            }
        ),
        (0..4_u32).prop_map(|handle| Transfer {
            handle,
            ..Transfer::default()
        }),
    ]
}

fn any_disposition() -> impl Strategy<Value = Disposition> {
    (
        any::<u32>(),
        proptest::option::of(any::<u32>()),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(first, last, settled, is_sender)| {
            let mut disposition = receipt(first, last, settled, DeliveryState::Accepted);
            if is_sender {
                disposition.role = Role::Sender;
            }
            disposition
        })
}

proptest! {
    #[test]
    fn garbage_after_open_does_not_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..400),
        frames in proptest::collection::vec((0x10..0x19_u8, proptest::collection::vec(any::<u8>(), 0..60)), 0..6),
    ) {
        let mut peer = Peer::open(65_536);
        for (descriptor, body) in frames {
            let mut frame = Vec::new();
            write_frame(&mut frame, FrameType::Amqp, 0, |out| {
                out.extend([0, 0x53, descriptor]);
                out.extend(body);
            });
            let now = peer.now;
            feed(&mut peer.engine, &frame, now);
        }
        let now = peer.now;
        feed(&mut peer.engine, &bytes, now);
    }

    #[test]
    fn any_order_of_frames_keeps_the_books_straight(
        frames in proptest::collection::vec((0..2_u16, any_performative()), 0..60)
    ) {
        let mut peer = Peer::open(512);
        let now = peer.now;
        for (channel, performative) in frames {
            let payload: &[u8] = match performative {
                Performative::Transfer(_) => &[0x00, 0x53, 0x75, 0xa0, 1, 7],
                _ => &[],
            };
            let frame = encode(channel, &performative, payload);
            feed(&mut peer.engine, &frame, now);
        }
        let links: usize = peer.engine.sessions.values().map(|session| session.links.len()).sum();
        prop_assert_eq!(peer.engine.effects.link_count, links);
        let kept: usize = peer
            .engine
            .sessions
            .values()
            .flat_map(|session| session.links.values())
            .filter_map(|link| link.partial.as_ref())
            .map(|partial| partial.bytes.len())
            .sum();
        prop_assert_eq!(peer.engine.effects.reassembly_bytes, kept);
        // Whatever was written is whole frames.
        let output = peer.engine.output().to_vec();
        let mut rest = &output[..];
        while let Some(frame) = parse_frame(rest, u32::MAX).unwrap() {
            rest = &rest[frame.size..];
        }
        prop_assert!(rest.is_empty());
    }
}

#[test]
fn frame_above_the_guest_limit_closes_until_the_peer_is_admitted() {
    let mut guest = Peer::open(65_536);
    guest.bytes(&8_193_u32.to_be_bytes());
    let Performative::Close(close) = guest.expect().performative else {
        panic!("no close")
    };
    assert_eq!(close.error.unwrap().condition, condition::FRAMING_ERROR);
    assert!(guest.engine.is_finished());

    let mut member = Peer::open(65_536);
    member.engine.admit();
    member.bytes(&65_536_u32.to_be_bytes());
    assert!(!member.engine.is_finished());
    member.bytes(&[2, 0, 0, 0]);
    let mut oversized = Peer::open(65_536);
    oversized.engine.admit();
    oversized.bytes(&65_537_u32.to_be_bytes());
    assert!(oversized.engine.is_finished());
}

#[test]
fn announced_frame_reserves_nothing_before_its_bytes() {
    let mut peer = Peer::open(65_536);
    peer.engine.admit();
    peer.bytes(&60_000_u32.to_be_bytes());
    assert!(peer.engine.input.capacity() < 64);
}

#[test]
fn idle_connection_holds_no_buffers() {
    let mut peer = Peer::open(65_536);
    peer.attach_sender(0, 10, 1024);
    peer.read();
    while peer.engine.poll_event().is_some() {}
    assert_eq!(peer.engine.input.capacity(), 0);
    assert_eq!(peer.engine.effects.output.bytes.capacity(), 0);
    assert!(
        size_of::<Engine>() + size_of::<session::Session>() + 4 * size_of::<link::Link>() < 2048
    );
}

#[test]
fn links_beyond_the_limit_are_refused_and_a_flood_of_them_closes() {
    let options = Options {
        max_links: 2,
        ..Options::default()
    };
    let mut peer = Peer::open_with(options, 65_536);
    for handle in 0..2 {
        peer.attach_sender(handle, 1, 1024);
    }
    peer.write(0, sender_attach(2, "x"));
    peer.no_event();
    peer.expect_attach();
    let error = peer.expect_detach().error.unwrap();
    assert_eq!(error.condition, condition::RESOURCE_LIMIT_EXCEEDED);
    for handle in 3..100 {
        peer.write(0, sender_attach(handle, "x"));
    }
    assert!(peer.engine.is_finished());
}

#[test]
fn peer_that_reads_nothing_is_cut_at_four_times_the_output_bound() {
    let options = Options {
        max_output_bytes: 1000,
        ..Options::default()
    };
    let mut peer = Peer::open_with(options, 65_536);
    let flow = encode(
        0,
        &Flow {
            echo: true,
            ..Flow::default()
        }
        .into(),
        &[],
    );
    for _ in 0..50 {
        peer.bytes(&flow);
    }
    assert!(!peer.engine.wants_input());
    assert!(!peer.engine.is_finished());
    for _ in 0..200 {
        peer.bytes(&flow);
    }
    assert!(peer.engine.is_finished());
    let cause = CloseCause::OutputOverflow;
    assert_eq!(peer.event(), Event::Closed { cause, error: None });
    assert!(peer.engine.output().len() <= 4 * 1000 + 100);
}

#[test]
fn messages_are_not_sent_into_full_output() {
    let options = Options {
        max_output_bytes: 1000,
        ..Options::default()
    };
    let mut peer = Peer::open_with(options, 65_536);
    let link = peer.attach_receiver(receiver_attach(0, FEEDBACK), 100);
    peer.engine
        .send(link, tag(0), data(&"x".repeat(1_000)), SendSettled::No)
        .unwrap();
    let refused = peer.engine.send(link, tag(1), data("x"), SendSettled::No);
    assert_eq!(refused, Err(SendError::OutputFull));
    peer.read();
    peer.engine
        .send(link, tag(1), data("x"), SendSettled::No)
        .unwrap();
}

#[test]
fn frames_out_of_place_close_the_connection() {
    let unexpected: [Performative; 4] = [
        open(512, None).into(),
        Begin {
            remote_channel: Some(0),
            ..begin()
        }
        .into(),
        begin().into(),
        Attach {
            handle: 262_144,
            ..sender_attach(0, "x")
        }
        .into(),
    ];
    for performative in unexpected {
        let mut peer = Peer::open(65_536);
        peer.write(0, performative);
        assert!(matches!(peer.expect().performative, Performative::Close(_)));
        assert!(peer.engine.is_finished());
    }
    let mut peer = Peer::open(65_536);
    peer.write(7, Flow::default());
    assert!(peer.engine.is_finished());
}

#[test]
fn delivery_id_that_does_not_rise_costs_the_session() {
    let mut peer = Peer::open(65_536);
    peer.attach_sender(0, 10, 1024);
    peer.write_with(0, transfer(0, 5), &data("x"));
    peer.write_with(0, transfer(0, 5), &data("x"));
    peer.message();
    let Performative::End(end) = peer.expect().performative else {
        panic!("no end")
    };
    assert_eq!(end.error.unwrap().condition, condition::INVALID_FIELD);
}
