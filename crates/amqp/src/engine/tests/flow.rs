use super::*;

#[test]
fn credit_is_topped_up_as_messages_are_settled() {
    let mut peer = Peer::open(65_536);
    let link = peer.attach_sender(0, 8, 1024);
    let mut ids = Vec::new();
    for id in 0..8 {
        peer.write_with(0, transfer(0, id), &data("x"));
        ids.push(peer.message().delivery);
    }
    peer.expect_nothing();
    peer.engine.settle(link, ids[0], DeliveryState::Accepted);
    assert_eq!(peer.expect_disposition().first, 0);
    peer.expect_nothing();
    peer.engine.settle(link, ids[1], DeliveryState::Accepted);
    assert_eq!(peer.expect_disposition().first, 1);
    let flow = peer.expect_flow();
    assert_eq!((flow.delivery_count, flow.link_credit), (Some(8), Some(2)));
}

#[test]
fn settlements_join_while_ids_follow_and_outcomes_agree() {
    let mut peer = Peer::open(65_536);
    let link = peer.attach_sender(0, 100, 1024);
    let mut ids = Vec::new();
    for id in 0..6 {
        peer.write_with(0, transfer(0, id), &data("x"));
        ids.push(peer.message().delivery);
    }
    let rejected = DeliveryState::rejected(AmqpError::new(condition::NOT_FOUND, "no device"));
    for (index, state) in [
        (0, DeliveryState::Accepted),
        (1, DeliveryState::Accepted),
        (2, rejected.clone()),
        (3, DeliveryState::Accepted),
        (5, DeliveryState::Accepted),
        (4, DeliveryState::Accepted),
    ] {
        peer.engine.settle(link, ids[index], state);
    }
    let expected = [
        receipt(0, Some(1), true, DeliveryState::Accepted),
        receipt(2, None, true, rejected),
        receipt(3, None, true, DeliveryState::Accepted),
        receipt(5, None, true, DeliveryState::Accepted),
        receipt(4, None, true, DeliveryState::Accepted),
    ];
    for disposition in expected {
        assert_eq!(peer.expect_disposition(), disposition);
    }
    peer.expect_nothing();
}

#[test]
fn message_in_many_frames_is_put_together() {
    let mut peer = Peer::open(65_536);
    peer.attach_sender(0, 10, 1024);
    let message = data("a message that comes in three frames");
    let more = Transfer {
        more: true,
        ..transfer(0, 0)
    };
    peer.write_with(0, more, &message[..10]);
    let rest = Transfer {
        handle: 0,
        more: true,
        ..Transfer::default()
    };
    peer.write_with(0, rest.clone(), &message[10..20]);
    peer.no_event();
    peer.write_with(
        0,
        Transfer {
            more: false,
            ..rest
        },
        &message[20..],
    );
    assert_eq!(peer.message().payload, message);
}

#[test]
fn aborted_message_is_forgotten_and_its_place_given_back() {
    let mut peer = Peer::open(65_536);
    peer.attach_sender(0, 1, 1024);
    peer.write_with(
        0,
        Transfer {
            more: true,
            ..transfer(0, 0)
        },
        b"half",
    );
    peer.write(
        0,
        Transfer {
            handle: 0,
            aborted: true,
            ..Transfer::default()
        },
    );
    peer.no_event();
    assert_eq!(peer.expect_flow().link_credit, Some(1));
    peer.write_with(0, transfer(0, 1), &data("x"));
    peer.message();
}

#[test]
fn oversized_message_is_rejected_and_the_link_lives() {
    let mut peer = Peer::open(65_536);
    peer.attach_sender(0, 10, 100);
    peer.write_with(
        0,
        Transfer {
            more: true,
            ..transfer(0, 0)
        },
        &[0; 80],
    );
    peer.write_with(
        0,
        Transfer {
            handle: 0,
            ..Transfer::default()
        },
        &[0; 80],
    );
    peer.no_event();
    let disposition = peer.expect_disposition();
    let Some(DeliveryState::Rejected(Some(error))) = disposition.state else {
        panic!()
    };
    assert_eq!(error.condition, condition::MESSAGE_SIZE_EXCEEDED);
    peer.write_with(0, transfer(0, 1), &data("x"));
    peer.message();
}

#[test]
fn far_oversized_or_pre_settled_oversized_message_costs_the_link() {
    let mut peer = Peer::open(65_536);
    peer.attach_sender(0, 10, 100);
    peer.write_with(
        0,
        Transfer {
            more: true,
            ..transfer(0, 0)
        },
        &[0; 500],
    );
    let error = peer.expect_detach().error.unwrap();
    assert_eq!(error.condition, condition::MESSAGE_SIZE_EXCEEDED);
    assert!(matches!(peer.event(), Event::Detached { .. }));
    // What was on its way is passed over until the client answers.
    peer.write_with(
        0,
        Transfer {
            handle: 0,
            ..Transfer::default()
        },
        &[0; 10],
    );
    peer.write(
        0,
        Detach {
            handle: 0,
            closed: true,
            error: None,
        },
    );
    peer.expect_nothing();

    peer.attach_sender(1, 10, 100);
    peer.write_with(
        0,
        Transfer {
            settled: Some(true),
            ..transfer(1, 1)
        },
        &[0; 101],
    );
    let error = peer.expect_detach().error.unwrap();
    assert_eq!(error.condition, condition::MESSAGE_SIZE_EXCEEDED);
}

#[test]
fn unfinished_messages_of_all_links_share_one_bound() {
    let options = Options {
        max_reassembly_bytes: 1500,
        ..Options::default()
    };
    let mut peer = Peer::open_with(options, 65_536);
    for handle in 0..2 {
        peer.attach_sender(handle, 10, 1_000);
    }
    peer.write_with(
        0,
        Transfer {
            more: true,
            ..transfer(0, 0)
        },
        &[0; 900],
    );
    peer.expect_nothing();
    peer.write_with(
        0,
        Transfer {
            more: true,
            ..transfer(1, 1)
        },
        &[0; 900],
    );
    let detach = peer.expect_detach();
    assert_eq!(detach.handle, 1);
    assert_eq!(
        detach.error.unwrap().condition,
        condition::RESOURCE_LIMIT_EXCEEDED
    );
    // The bytes of the broken link no longer count.
    peer.write_with(
        0,
        Transfer {
            handle: 0,
            more: true,
            ..Transfer::default()
        },
        &[0; 50],
    );
    peer.expect_nothing();
}

#[test]
fn transfer_without_credit_costs_the_link() {
    let mut peer = Peer::open(65_536);
    peer.attach_sender(0, 1, 1024);
    peer.write_with(0, transfer(0, 0), &data("x"));
    peer.write_with(0, transfer(0, 1), &data("x"));
    peer.message();
    let error = peer.expect_detach().error.unwrap();
    assert_eq!(error.condition, condition::TRANSFER_LIMIT_EXCEEDED);
}

#[test]
fn transfer_on_an_unknown_handle_costs_the_session_only() {
    let mut peer = Peer::open(65_536);
    peer.write(1, begin());
    peer.expect();
    peer.write_with(1, transfer(9, 0), b"x");
    let sent = peer.expect();
    let Performative::End(end) = sent.performative else {
        panic!("no end")
    };
    assert_eq!(sent.channel, 1);
    assert_eq!(end.error.unwrap().condition, condition::UNATTACHED_HANDLE);
    // Frames still on their way are passed over; the answer frees the channel.
    peer.write_with(1, transfer(9, 1), b"x");
    peer.write(1, End::default());
    peer.expect_nothing();
    peer.write(1, begin());
    assert!(matches!(peer.expect().performative, Performative::Begin(_)));
    assert!(!peer.engine.is_finished());
}

#[test]
fn message_waits_for_the_session_window_and_goes_on_with_it() {
    let mut peer = Peer::open(512);
    let link = peer.attach_receiver(receiver_attach(0, FEEDBACK), 10);
    let window = |next, incoming_window| Flow {
        next_incoming_id: Some(next),
        incoming_window,
        handle: None,
        ..credit_flow(0, 0, 0)
    };
    peer.write(
        0,
        Flow {
            handle: None,
            link_credit: None,
            delivery_count: None,
            ..window(1, 2)
        },
    );
    let message = data(&"x".repeat(1_400));
    peer.engine
        .send(link, tag(1), message.clone(), SendSettled::No)
        .unwrap();
    let mut payload = peer.expect_transfer().1.to_vec();
    payload.extend(peer.expect_transfer().1);
    peer.expect_nothing();
    let refused = peer.engine.send(link, tag(2), data("y"), SendSettled::No);
    assert_eq!(refused, Err(SendError::WindowClosed));
    assert_eq!(peer.engine.sendable(link), 0);

    peer.write(
        0,
        Flow {
            link_credit: None,
            delivery_count: None,
            ..window(3, 5)
        },
    );
    let (transfer, rest) = peer.expect_transfer();
    payload.extend(rest);
    assert!(!transfer.more);
    assert_eq!(payload, message);
    assert_eq!(peer.event(), Event::WindowOpened { channel: 0 });
    peer.engine
        .send(link, tag(2), data("y"), SendSettled::No)
        .unwrap();
    assert_eq!(peer.expect_transfer().0.delivery_id, Some(1));
}

#[test]
fn credit_counts_what_is_in_flight() {
    let mut peer = Peer::open(65_536);
    let link = peer.attach_receiver(receiver_attach(0, FEEDBACK), 3);
    for number in 0..3 {
        peer.engine
            .send(link, tag(number), data("x"), SendSettled::No)
            .unwrap();
    }
    assert_eq!(
        peer.engine.send(link, tag(9), data("x"), SendSettled::No),
        Err(SendError::NoCredit)
    );
    // The client has seen one of the three and wants three in all: two are on their way.
    peer.write(0, credit_flow(0, 1, 3));
    assert_eq!(
        peer.event(),
        Event::CreditChanged {
            link,
            credit: 1,
            is_drain: false
        }
    );
    // Credit that was taken back while messages were on their way is no credit.
    peer.write(0, credit_flow(0, 1, 1));
    assert_eq!(
        peer.event(),
        Event::CreditChanged {
            link,
            credit: 0,
            is_drain: false
        }
    );
}

#[test]
fn unsettled_deliveries_are_bounded() {
    let options = Options {
        max_unsettled: 2,
        ..Options::default()
    };
    let mut peer = Peer::open_with(options, 65_536);
    let link = peer.attach_receiver(receiver_attach(0, FEEDBACK), 10);
    for number in 0..2 {
        peer.engine
            .send(link, tag(number), data("x"), SendSettled::No)
            .unwrap();
    }
    let refused = peer.engine.send(link, tag(2), data("x"), SendSettled::No);
    assert_eq!(refused, Err(SendError::UnsettledFull));
    peer.write(0, receipt(0, None, true, DeliveryState::Accepted));
    peer.event();
    peer.engine
        .send(link, tag(2), data("x"), SendSettled::No)
        .unwrap();
}

#[test]
fn disposition_over_two_links_is_told_for_each() {
    let mut peer = Peer::open(65_536);
    let first = peer.attach_receiver(receiver_attach(0, FEEDBACK), 10);
    let second = peer.attach_receiver(receiver_attach(1, FEEDBACK), 10);
    for link in [first, second, first] {
        peer.engine
            .send(link, tag(1), data("x"), SendSettled::No)
            .unwrap();
    }
    peer.write(0, receipt(0, Some(u32::MAX), true, DeliveryState::Accepted));
    for (link, count) in [(first, 2), (second, 1)] {
        let Event::DispositionReceived {
            link: named,
            deliveries,
            ..
        } = peer.event()
        else {
            panic!("no disposition")
        };
        assert_eq!((named, deliveries.len()), (link, count));
    }
    peer.no_event();
}

#[test]
fn sender_that_settles_is_owed_no_disposition() {
    let mut peer = Peer::open(65_536);
    let link = peer.attach_sender(0, 10, 1024);
    peer.write_with(0, transfer(0, 0), &data("x"));
    let delivery = peer.message().delivery;
    peer.write(
        0,
        Disposition {
            role: Role::Sender,
            first: 0,
            last: None,
            settled: true,
            state: None,
        },
    );
    peer.engine.settle(link, delivery, DeliveryState::Accepted);
    peer.expect_nothing();
}

#[test]
fn hub_detaches_with_its_reason_and_waits_for_the_answer() {
    let mut peer = Peer::open(65_536);
    let link = peer.attach_receiver(receiver_attach(0, FEEDBACK), 10);
    let error = AmqpError::new(condition::UNAUTHORIZED_ACCESS, "Token Invalid.");
    peer.engine.detach(link, Some(error.clone()));
    assert_eq!(
        peer.expect_detach(),
        Detach {
            handle: 0,
            closed: true,
            error: Some(error.clone())
        }
    );
    let detached = Event::Detached {
        link,
        error: Some(error),
        unsettled: Vec::new(),
    };
    assert_eq!(peer.event(), detached);
    peer.write(0, credit_flow(0, 0, 5));
    peer.no_event();
    peer.write(
        0,
        Detach {
            handle: 0,
            closed: true,
            error: None,
        },
    );
    peer.no_event();
    peer.expect_nothing();
}

#[test]
fn delivery_ids_wrap_around() {
    let mut peer = Peer::open(65_536);
    let link = peer.attach_sender(0, 100, 1024);
    for id in [u32::MAX - 1, u32::MAX, 0, 1] {
        peer.write_with(0, transfer(0, id), &data("x"));
        let delivery = peer.message().delivery;
        peer.engine.settle(link, delivery, DeliveryState::Accepted);
    }
    let disposition = peer.expect_disposition();
    assert_eq!(
        (disposition.first, disposition.last),
        (u32::MAX - 1, Some(1))
    );
}
