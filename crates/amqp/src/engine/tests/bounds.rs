//! Every bound of [`Options`], and what holds at it.

use super::*;

const LOST: fn() -> DeliveryState =
    || DeliveryState::rejected(AmqpError::new(condition::MESSAGE_LOCK_LOST, "lapsed"));

fn send(peer: &mut Peer, link: LinkId, number: u8) -> Result<DeliveryId, SendError> {
    peer.engine
        .send(link, tag(number), data("x"), SendSettled::No)
}

fn deliveries_told(peer: &mut Peer) -> Vec<UnsettledDelivery> {
    match peer.event() {
        Event::DispositionReceived { deliveries, .. } => deliveries,
        other => panic!("expected a disposition, got {other:?}"),
    }
}

#[test]
fn client_that_never_settles_does_not_stop_its_session_once_its_locks_lapse() {
    let options = Options {
        max_unsettled: 2,
        max_lapsed: 3,
        ..Options::default()
    };
    let mut peer = Peer::open_with(options, 65_536);
    let link = peer.attach_receiver(receiver_attach(0, FEEDBACK), 100);
    let mut sent = Vec::new();
    for number in 0..20 {
        sent.push(send(&mut peer, link, number).unwrap());
        if let Some(older) = sent.len().checked_sub(2) {
            assert_eq!(send(&mut peer, link, 99), Err(SendError::UnsettledFull));
            peer.engine.lapse(link, sent[older]);
            assert_eq!(peer.event(), Event::WindowOpened { channel: 0 });
        }
    }
    // The receiver wakes up and settles everything it has: the caller hears of the one it counts
    // on and of the last three it had given up.
    peer.write(0, receipt(0, Some(19), true, DeliveryState::Accepted));
    let told: Vec<DeliveryId> = deliveries_told(&mut peer)
        .iter()
        .map(|delivery| delivery.delivery)
        .collect();
    assert_eq!(told, sent[16..]);
    peer.no_event();
}

#[test]
fn late_word_that_awaits_an_answer_gets_one_for_a_lapsed_delivery_too() {
    let mut peer = Peer::open(65_536);
    let attach = Attach {
        rcv_settle_mode: Some(ReceiverSettleMode::Second),
        ..receiver_attach(0, FEEDBACK)
    };
    let link = peer.attach_receiver(attach, 10);
    let delivery = send(&mut peer, link, 7).unwrap();
    peer.expect_transfer();
    peer.engine.lapse(link, delivery);
    peer.write(0, receipt(0, None, false, DeliveryState::Accepted));
    assert_eq!(deliveries_told(&mut peer)[0].tag, tag(7));
    peer.engine.settle_outgoing(link, delivery, LOST());
    let answer = peer.expect_disposition();
    assert_eq!((answer.role, answer.settled), (Role::Sender, true));
    assert_eq!(answer.state, Some(LOST()));
    // Answered is answered.
    peer.engine.settle_outgoing(link, delivery, LOST());
    peer.expect_nothing();
}

#[test]
fn lapsed_deliveries_are_not_named_when_their_link_goes() {
    let mut peer = Peer::open(65_536);
    let link = peer.attach_receiver(receiver_attach(0, FEEDBACK), 10);
    let lapsed = send(&mut peer, link, 1).unwrap();
    let kept = send(&mut peer, link, 2).unwrap();
    peer.engine.lapse(link, lapsed);
    peer.engine.detach(link, None);
    let Event::Detached { unsettled, .. } = peer.event() else {
        panic!("no detach")
    };
    let tag = tag(2);
    let kept = UnsettledDelivery {
        delivery: kept,
        tag,
    };
    assert_eq!(unsettled, [kept]);
}

#[test]
fn outcome_that_is_told_again_and_again_is_one_event() {
    let mut peer = Peer::open(65_536);
    let link = peer.attach_receiver(receiver_attach(0, FEEDBACK), 10);
    send(&mut peer, link, 1).unwrap();
    for _ in 0..3 {
        peer.write(0, receipt(0, Some(9), false, DeliveryState::Accepted));
    }
    assert_eq!(deliveries_told(&mut peer).len(), 1);
    peer.no_event();
}

#[test]
fn settled_sends_go_on_while_unsettled_deliveries_are_at_their_bound() {
    let options = Options {
        max_unsettled: 1,
        ..Options::default()
    };
    let mut peer = Peer::open_with(options, 65_536);
    let unsettled = peer.attach_receiver(receiver_attach(0, FEEDBACK), 10);
    let attach = Attach {
        snd_settle_mode: Some(SenderSettleMode::Settled),
        ..receiver_attach(1, FEEDBACK)
    };
    let settled = peer.attach_receiver(attach, 10);
    send(&mut peer, unsettled, 1).unwrap();
    assert_eq!(peer.engine.sendable(unsettled), 0);
    assert_eq!(
        peer.engine.check_room(unsettled),
        Err(SendError::UnsettledFull)
    );
    assert_eq!(peer.engine.sendable(settled), 10);
    send(&mut peer, settled, 2).unwrap();
}

#[test]
fn room_is_told_of_by_whatever_made_it() {
    let options = Options {
        max_unsettled: 1,
        ..Options::default()
    };
    let opened = Event::WindowOpened { channel: 0 };
    let mut peer = Peer::open_with(options, 65_536);
    let link = peer.attach_receiver(receiver_attach(0, FEEDBACK), 10);
    send(&mut peer, link, 1).unwrap();
    peer.write(0, receipt(0, None, true, DeliveryState::Accepted));
    deliveries_told(&mut peer);
    assert_eq!(peer.event(), opened);

    let second = send(&mut peer, link, 2).unwrap();
    peer.write(0, receipt(1, None, false, DeliveryState::Accepted));
    deliveries_told(&mut peer);
    peer.no_event();
    peer.engine
        .settle_outgoing(link, second, DeliveryState::Accepted);
    assert_eq!(peer.event(), opened);

    send(&mut peer, link, 3).unwrap();
    peer.engine.detach(link, None);
    assert!(matches!(peer.event(), Event::Detached { .. }));
    assert_eq!(peer.event(), opened);
}

#[test]
fn window_that_opens_is_told_of_though_unsettled_deliveries_are_at_their_bound() {
    let options = Options {
        max_unsettled: 1,
        ..Options::default()
    };
    let mut peer = Peer::open_with(options, 65_536);
    let unsettled = peer.attach_receiver(receiver_attach(0, FEEDBACK), 10);
    let attach = Attach {
        snd_settle_mode: Some(SenderSettleMode::Settled),
        ..receiver_attach(1, FEEDBACK)
    };
    let settled = peer.attach_receiver(attach, 10);
    let window = |next, incoming_window| Flow {
        next_incoming_id: Some(next),
        incoming_window,
        handle: None,
        link_credit: None,
        delivery_count: None,
        ..credit_flow(0, 0, 0)
    };
    peer.write(0, window(1, 1));
    send(&mut peer, unsettled, 1).unwrap();
    assert_eq!(send(&mut peer, settled, 2), Err(SendError::WindowClosed));
    peer.write(0, window(2, 1));
    assert_eq!(peer.event(), Event::WindowOpened { channel: 0 });
    send(&mut peer, settled, 2).unwrap();
}

#[test]
fn window_that_was_closed_from_the_start_is_told_of_when_it_opens() {
    let mut peer = Peer::open(65_536);
    peer.write(
        1,
        Begin {
            incoming_window: 0,
            ..begin()
        },
    );
    peer.no_event();
    peer.write(
        1,
        Flow {
            handle: None,
            link_credit: None,
            delivery_count: None,
            ..credit_flow(0, 0, 0)
        },
    );
    assert_eq!(peer.event(), Event::WindowOpened { channel: 1 });
}

#[test]
fn sessions_beyond_the_bound_close_the_connection() {
    let options = Options {
        max_sessions: 2,
        ..Options::default()
    };
    let mut peer = Peer::open_with(options, 65_536);
    peer.write(1, begin());
    assert!(matches!(peer.expect().performative, Performative::Begin(_)));
    peer.write(2, begin());
    let Performative::Close(close) = peer.expect().performative else {
        panic!("no close")
    };
    let error = close.error.unwrap();
    assert_eq!(error.condition, condition::RESOURCE_LIMIT_EXCEEDED);
}

#[test]
fn channels_and_handles_beyond_what_was_announced_close_the_connection() {
    for (channel, handle) in [(8, 0), (0, 4)] {
        let options = Options {
            channel_max: 7,
            handle_max: 3,
            ..Options::default()
        };
        let mut peer = Peer::open_with(options, 65_536);
        if channel == 0 {
            peer.write(0, sender_attach(handle, "/messages/devicebound"));
        } else {
            peer.write(channel, begin());
        }
        let Performative::Close(close) = peer.expect().performative else {
            panic!("no close")
        };
        let error = close.error.unwrap();
        assert_eq!(error.condition, condition::FRAMING_ERROR);
    }
}

#[test]
fn stranger_has_fewer_links_than_an_admitted_peer() {
    let options = Options {
        max_guest_links: 1,
        max_links: 3,
        ..Options::default()
    };
    let mut peer = Peer::open_with(options, 65_536);
    peer.attach_sender(0, 1, 1);
    peer.write(0, sender_attach(1, "$cbs"));
    assert_eq!(peer.expect_attach().target, None);
    let error = peer.expect_detach().error.unwrap();
    assert_eq!(error.condition, condition::RESOURCE_LIMIT_EXCEEDED);
    peer.no_event();

    peer.engine.admit();
    peer.attach_sender(2, 1, 1);
}

#[test]
fn name_of_a_link_is_bounded() {
    let options = Options {
        max_link_name_bytes: 16,
        ..Options::default()
    };
    let mut peer = Peer::open_with(options, 65_536);
    let named = |length| Attach {
        name: "n".repeat(length),
        ..sender_attach(0, "$cbs")
    };
    peer.write(0, named(16));
    peer.attach_request();
    peer.write(
        0,
        Attach {
            handle: 1,
            ..named(17)
        },
    );
    let Performative::End(end) = peer.expect().performative else {
        panic!("no end")
    };
    assert_eq!(end.error.unwrap().condition, condition::INVALID_FIELD);
}

#[test]
fn reading_stops_while_too_much_waits_to_be_attached() {
    let options = Options {
        max_attach_bytes: 300,
        ..Options::default()
    };
    let mut peer = Peer::open_with(options, 65_536);
    let long = "/".repeat(120);
    let mut waiting = Vec::new();
    for handle in 0..3 {
        assert!(peer.engine.wants_input());
        peer.write(0, sender_attach(handle, &long));
        waiting.push(peer.attach_request().link);
    }
    assert!(!peer.engine.wants_input());
    peer.engine.accept(waiting[0], TERMS);
    assert!(peer.engine.wants_input());

    peer.write(0, sender_attach(3, &long));
    peer.attach_request();
    assert!(!peer.engine.wants_input());
    let error = AmqpError::new(condition::NOT_FOUND, "no such address");
    peer.engine.refuse(waiting[1], error);
    assert!(peer.engine.wants_input());

    peer.write(0, sender_attach(4, &long));
    assert!(!peer.engine.wants_input());
    peer.write(
        0,
        Detach {
            handle: 4,
            closed: true,
            error: None,
        },
    );
    assert!(peer.engine.wants_input());
    peer.write(0, sender_attach(5, &long));
    peer.write(0, End::default());
    assert!(peer.engine.wants_input());
}

#[test]
fn session_window_is_announced_and_refilled_at_half() {
    let options = Options {
        session_window: 4,
        ..Options::default()
    };
    let mut peer = Peer::new(options);
    peer.bytes(&ProtocolHeader::Amqp.bytes());
    peer.write(0, open(65_536, None));
    peer.write(0, begin());
    peer.take_header();
    peer.expect();
    let Performative::Begin(answer) = peer.expect().performative else {
        panic!("no begin")
    };
    assert_eq!(answer.incoming_window, 4);
    peer.event();
    peer.attach_sender(0, 10, 1024);
    peer.write_with(0, transfer(0, 0), &data("x"));
    peer.expect_nothing();
    peer.write_with(0, transfer(0, 1), &data("x"));
    let flow = peer.expect_flow();
    assert_eq!((flow.next_incoming_id, flow.incoming_window), (Some(2), 4));
}

#[test]
fn message_is_cut_into_frames_wherever_head_and_body_part() {
    let message = |length: usize| Message {
        body: Body::Data(Bytes::from(vec![7; length])),
        ..Message::default()
    };
    // Among these are messages that fill one frame, or two, to the last byte.
    for length in (0..3).chain(250..260).chain(380..1_000) {
        let mut peer = Peer::open(512);
        let link = peer.attach_receiver(receiver_attach(0, FEEDBACK), 10);
        let apart = message(length).into_encoded();
        assert_eq!(apart.len(), message(length).encode().len());
        peer.engine
            .send(link, tag(1), apart, SendSettled::No)
            .unwrap();
        let mut received = Vec::new();
        loop {
            let (transfer, payload) = peer.expect_transfer();
            received.extend(payload);
            if !transfer.more {
                break;
            }
        }
        assert_eq!(received, message(length).encode());
    }
}

#[test]
fn link_is_taken_over_by_its_name_whatever_came_and_went_beside_it() {
    let mut peer = Peer::open(65_536);
    let named = |name: &str, handle| Attach {
        name: name.to_owned(),
        ..receiver_attach(handle, FEEDBACK)
    };
    let taken = peer.attach_receiver(named("b", 0), 1);
    for (handle, name) in ["a", "c", "d", "bb"].into_iter().enumerate() {
        let handle = u32::try_from(handle).unwrap() + 1;
        peer.attach_receiver(named(name, handle), 1);
        let detach = Detach {
            handle,
            closed: true,
            error: None,
        };
        peer.write(0, detach);
        peer.event();
        peer.expect_detach();
    }
    peer.write(0, named("b", 9));
    let Event::Detached { link, error, .. } = peer.event() else {
        panic!("no detach")
    };
    assert_eq!(link, taken);
    assert_eq!(error.unwrap().condition, condition::LINK_STOLEN);
    peer.attach_request();
}
