//! Microsoft.Azure.Amqp: pre-settled tokens, receiver mode second, credit one by one.

use super::*;

fn second_mode(handle: u32) -> Attach {
    Attach {
        rcv_settle_mode: Some(ReceiverSettleMode::Second),
        ..receiver_attach(
            handle,
            "amqps://hub1.example.net:5671/messages/serviceBound/feedback",
        )
    }
}

#[test]
fn settle_modes_are_echoed() {
    let mut peer = Peer::open(65_536);
    let mut attach = second_mode(0);
    attach.snd_settle_mode = Some(SenderSettleMode::Settled);
    peer.write(0, attach);
    let link = peer.attach_request().link;
    peer.engine.accept(link, TERMS);
    let echo = peer.expect_attach();
    assert_eq!(echo.rcv_settle_mode, Some(ReceiverSettleMode::Second));
    assert_eq!(echo.snd_settle_mode, Some(SenderSettleMode::Settled));
    assert_eq!(
        (echo.role, echo.initial_delivery_count),
        (Role::Sender, Some(0))
    );
}

#[test]
fn unsettled_outcomes_are_answered_with_accepted_and_settled() {
    let mut peer = Peer::open(65_536);
    let link = peer.attach_receiver(second_mode(0), 50);
    let mut ids = Vec::new();
    for number in 0..3 {
        ids.push(
            peer.engine
                .send(link, tag(number), data("x"), SendSettled::No)
                .unwrap(),
        );
        assert_eq!(peer.expect_transfer().0.settled, None);
    }
    peer.write(0, receipt(0, Some(2), false, DeliveryState::Released));
    let Event::DispositionReceived {
        deliveries,
        state,
        is_settled,
        ..
    } = peer.event()
    else {
        panic!("no disposition")
    };
    assert_eq!(
        (deliveries.len(), state, is_settled),
        (3, Some(DeliveryState::Released), false)
    );
    for id in ids {
        peer.engine
            .settle_outgoing(link, id, DeliveryState::Accepted);
    }
    let answer = peer.expect_disposition();
    assert_eq!(answer.role, Role::Sender);
    assert_eq!(
        (answer.first, answer.last, answer.settled),
        (0, Some(2), true)
    );
    assert_eq!(answer.state, Some(DeliveryState::Accepted));
    peer.expect_nothing();
}

#[test]
fn states_without_outcome_are_no_settlement() {
    let mut peer = Peer::open(65_536);
    let link = peer.attach_receiver(second_mode(0), 50);
    peer.engine
        .send(link, tag(1), data("x"), SendSettled::No)
        .unwrap();
    let received = DeliveryState::Received {
        section_number: 0,
        section_offset: 9,
    };
    peer.write(0, receipt(0, None, false, received));
    peer.no_event();
}

#[test]
fn pre_settled_token_gets_no_disposition_and_a_settled_reply() {
    let mut peer = Peer::open(65_536);
    let mut attach = sender_attach(0, "$cbs");
    attach.snd_settle_mode = Some(SenderSettleMode::Settled);
    peer.write(0, attach);
    let sender = peer.attach_request().link;
    // Credit for the reply arrives before the attach of its link is answered.
    let mut attach = receiver_attach(1, "$cbs");
    attach.snd_settle_mode = Some(SenderSettleMode::Settled);
    peer.write(0, attach);
    peer.write(0, credit_flow(1, 0, 50));
    let receiver = peer.attach_request().link;
    peer.no_event();
    peer.engine.accept(sender, TERMS);
    peer.engine.accept(receiver, TERMS);
    let credit = Event::CreditChanged {
        link: receiver,
        credit: 50,
        is_drain: false,
    };
    assert_eq!(peer.event(), credit);
    peer.expect_attach();
    peer.expect_flow();
    peer.expect_attach();

    let put = Transfer {
        settled: Some(true),
        ..transfer(0, 0)
    };
    peer.write_with(0, put, &data("token"));
    let message = peer.message();
    peer.engine
        .settle(sender, message.delivery, DeliveryState::Accepted);
    peer.engine
        .send(receiver, tag(0), data("reply"), SendSettled::No)
        .unwrap();
    assert_eq!(peer.expect_transfer().0.settled, Some(true));
    peer.expect_nothing();
}

#[test]
fn credit_comes_one_by_one_and_can_be_drained() {
    let mut peer = Peer::open(65_536);
    let link = peer.attach_receiver(second_mode(0), 0);
    assert_eq!(
        peer.engine.send(link, tag(0), data("x"), SendSettled::No),
        Err(SendError::NoCredit)
    );
    peer.write(0, credit_flow(0, 0, 1));
    assert_eq!(
        peer.event(),
        Event::CreditChanged {
            link,
            credit: 1,
            is_drain: false
        }
    );
    assert_eq!(peer.engine.sendable(link), 1);
    peer.write(
        0,
        Flow {
            drain: true,
            ..credit_flow(0, 0, 1)
        },
    );
    assert_eq!(
        peer.event(),
        Event::CreditChanged {
            link,
            credit: 1,
            is_drain: true
        }
    );
    peer.engine.drained(link);
    let flow = peer.expect_flow();
    assert_eq!(
        (flow.delivery_count, flow.link_credit, flow.drain),
        (Some(1), Some(0), true)
    );
    peer.write(0, credit_flow(0, 1, 2));
    assert_eq!(
        peer.event(),
        Event::CreditChanged {
            link,
            credit: 2,
            is_drain: false
        }
    );
}

#[test]
fn same_link_name_in_two_sessions_is_two_links() {
    let mut peer = Peer::open(65_536);
    peer.write(1, begin());
    peer.expect();
    for channel in [0, 1] {
        peer.write(channel, sender_attach(0, "/messages/devicebound"));
        let link = peer.attach_request().link;
        assert_eq!(link.channel(), channel);
        peer.engine.accept(link, TERMS);
    }
    peer.no_event();
}

#[test]
fn name_that_comes_back_takes_its_link_over() {
    let mut peer = Peer::open(65_536);
    let old = peer.attach_sender(0, 10, 1024);
    let mut again = sender_attach(5, "/messages/devicebound");
    again.name = "sender-0".into();
    peer.write(0, again);
    let detach = peer.expect_detach();
    assert_eq!(detach.handle, 0);
    assert_eq!(detach.error.unwrap().condition, condition::LINK_STOLEN);
    assert!(matches!(peer.event(), Event::Detached { link, .. } if link == old));
    let new = peer.attach_request().link;
    assert_ne!(new, old);

    // On the same handle nothing is detached: the client has forgotten the old link.
    peer.engine.accept(new, TERMS);
    peer.expect_attach();
    peer.expect_flow();
    let mut again = sender_attach(5, "/messages/devicebound");
    again.name = "sender-0".into();
    peer.write(0, again);
    assert!(matches!(peer.event(), Event::Detached { link, .. } if link == new));
    let newest = peer.attach_request().link;
    peer.engine.accept(new, TERMS);
    peer.expect_nothing();
    peer.engine.accept(newest, TERMS);
    peer.expect_attach();
}
