//! Messages of back-ends to devices: credit, settlement, redelivery.

use std::time::Duration;

use downlink_amqp::message::{Body, Message};
use downlink_amqp::performative::{
    DeliveryState, Detach, Disposition, Flow, Performative, ReceiverSettleMode, Role,
    SenderSettleMode, Transfer,
};
use downlink_amqp::types::Value;

use super::client::{Client, receiver, rejection};
use super::*;

const DEVICEBOUND: &str = "/devices/dev-1/messages/devicebound";

async fn attached() -> (TestHub, Device, Client) {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_device(&hub, &device).await;
    client.attach(receiver(0, DEVICEBOUND)).await;
    (hub, device, client)
}

async fn listening(credit: u32) -> (TestHub, Device, Client) {
    let (hub, device, mut client) = attached().await;
    client.credit(0, 0, credit).await;
    (hub, device, client)
}

fn body(message: &Message) -> &str {
    match &message.body {
        Body::Data(data) => std::str::from_utf8(data).unwrap(),
        other => panic!("no data: {other:?}"),
    }
}

fn count(message: &Message) -> u8 {
    match message.annotation("iothub-deliverycount") {
        Some(Value::Ubyte(count)) => *count,
        other => panic!("no count: {other:?}"),
    }
}

/// Takes the next message and tells its delivery, what it says and its delivery count.
async fn next(client: &mut Client) -> (u32, String, u8) {
    let (transfer, message) = client.transfer().await;
    let delivery = transfer.delivery_id.unwrap();
    (delivery, body(&message).to_owned(), count(&message))
}

/// Attaches a link that is not used, whose echo shows that nothing came before it.
async fn assert_silent(client: &mut Client) {
    let echo = client.attach(receiver(50, "$cbs")).await;
    assert_eq!(echo.handle, 50);
    let handle = 50;
    let detach = Detach {
        handle,
        closed: true,
        error: None,
    };
    client.write(detach).await;
    assert_eq!(client.detach().await.handle, handle);
}

#[tokio::test]
async fn message_reaches_the_device_and_is_completed_by_accepted() {
    let (hub, device, mut client) = listening(10).await;
    send(&hub, &device, &["one"]).await;
    let (transfer, message) = client.transfer().await;
    assert_eq!(body(&message), "one");
    let tag = transfer.delivery_tag.unwrap();
    assert_eq!((tag.as_slice().len(), transfer.settled), (16, None));
    let delivery = transfer.delivery_id.unwrap();
    client.settle(delivery, true, DeliveryState::Accepted).await;
    until_count(&hub, &device, 0).await;
    let delivered = hub.metric("downlink_gateway_messages_delivered_total");
    assert_eq!(delivered, 1);
}

#[tokio::test]
async fn messages_that_wait_come_in_order_when_the_device_attaches() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    send(&hub, &device, &["1", "2", "3"]).await;
    let mut client = Client::with_device(&hub, &device).await;
    client.attach(receiver(0, DEVICEBOUND)).await;
    client.credit(0, 0, 10).await;
    for expected in ["1", "2", "3"] {
        assert_eq!(next(&mut client).await.1, expected);
    }
}

#[tokio::test]
async fn no_more_messages_come_than_there_is_credit_for() {
    let (hub, device, mut client) = attached().await;
    send(&hub, &device, &["1", "2", "3", "4", "5"]).await;
    assert_silent(&mut client).await;
    let untouched = take(&hub, &device, 0).await;
    assert!(untouched.is_empty());
    client.credit(0, 0, 2).await;
    assert_eq!(next(&mut client).await.1, "1");
    assert_eq!(next(&mut client).await.1, "2");
    // What there is no credit for is not locked: another may take it.
    let rest = take(&hub, &device, 10).await;
    assert_eq!(rest.len(), 3);
    assert_silent(&mut client).await;
    for locked in &rest {
        complete(&hub, &device, locked).await;
    }
    send(&hub, &device, &["6"]).await;
    client.credit(0, 2, 1).await;
    assert_eq!(next(&mut client).await.1, "6");
}

#[tokio::test]
async fn released_message_comes_again_with_a_higher_count() {
    let (hub, device, mut client) = listening(10).await;
    send(&hub, &device, &["again"]).await;
    let (delivery, _, count) = next(&mut client).await;
    assert_eq!(count, 0);
    client.settle(delivery, true, DeliveryState::Released).await;
    let (delivery, text, count) = next(&mut client).await;
    assert_eq!((text.as_str(), count), ("again", 1));
    let modified = DeliveryState::Modified {
        delivery_failed: true,
        undeliverable_here: false,
        annotations: None,
    };
    client.settle(delivery, true, modified).await;
    let (delivery, text, count) = next(&mut client).await;
    assert_eq!((text.as_str(), count), ("again", 2));
    client.settle(delivery, true, DeliveryState::Accepted).await;
    until_count(&hub, &device, 0).await;
}

#[tokio::test]
async fn rejected_message_is_dead_lettered_and_reported() {
    let (hub, device, mut client) = listening(10).await;
    let mut message = downlink_testkit::a_message_to("dev-1", "m-1");
    message.hub = device.hub.clone();
    message.expiry = None;
    message.ack = downlink_domain::message::AckMode::Full;
    let queue = &hub.shared.peers.queue;
    queue
        .enqueue(vec![message])
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    let (delivery, ..) = next(&mut client).await;
    let state = DeliveryState::Rejected(None);
    client.settle(delivery, true, state).await;
    until_count(&hub, &device, 0).await;
    let wait = Duration::from_secs(10);
    let report = queue.receive_feedback(device.hub.clone(), wait).await;
    let status = report.unwrap().unwrap().records[0].status;
    assert_eq!(status.as_str(), "Rejected");
}

#[tokio::test]
async fn receiver_that_settles_in_two_steps_is_answered_with_accepted_whatever_it_said() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_device(&hub, &device).await;
    let mut attach = receiver(0, DEVICEBOUND);
    attach.rcv_settle_mode = Some(ReceiverSettleMode::Second);
    let echo = client.attach(attach).await;
    assert_eq!(echo.rcv_settle_mode, Some(ReceiverSettleMode::Second));
    client.credit(0, 0, 10).await;
    send(&hub, &device, &["1", "2"]).await;
    let (first, ..) = next(&mut client).await;
    let (second, ..) = next(&mut client).await;
    for (delivery, state) in [
        (second, DeliveryState::Accepted),
        (first, DeliveryState::Rejected(None)),
    ] {
        client.settle(delivery, false, state).await;
        let answer = client.disposition().await;
        assert_eq!(answer.role, Role::Sender);
        assert_eq!((answer.first, answer.settled), (delivery, true));
        assert_eq!(answer.state, Some(DeliveryState::Accepted));
    }
    until_count(&hub, &device, 0).await;
}

#[tokio::test]
async fn settling_after_the_lock_has_lapsed_is_answered_with_lock_lost() {
    let (hub, device, mut client) = listening(10).await;
    send(&hub, &device, &["slow"]).await;
    let (first, ..) = next(&mut client).await;
    hub.clock.advance(Duration::from_secs(61));
    let (second, text, _) = next(&mut client).await;
    assert_eq!(text, "slow");
    client.settle(first, false, DeliveryState::Accepted).await;
    let answer = client.disposition().await;
    assert_eq!((answer.role, answer.first), (Role::Sender, first));
    assert_eq!(
        rejection(answer.state.unwrap()),
        "com.microsoft:message-lock-lost"
    );
    client.settle(second, false, DeliveryState::Accepted).await;
    let answer = client.disposition().await;
    assert_eq!(answer.state, Some(DeliveryState::Accepted));
    until_count(&hub, &device, 0).await;
}

#[tokio::test]
async fn late_settled_word_is_passed_over() {
    let (hub, device, mut client) = listening(10).await;
    send(&hub, &device, &["slow"]).await;
    let (first, ..) = next(&mut client).await;
    hub.clock.advance(Duration::from_secs(61));
    let (second, ..) = next(&mut client).await;
    client.settle(first, true, DeliveryState::Accepted).await;
    assert_silent(&mut client).await;
    until_count(&hub, &device, 1).await;
    client.settle(second, true, DeliveryState::Accepted).await;
    until_count(&hub, &device, 0).await;
}

#[tokio::test]
async fn client_that_never_settles_does_not_stop_its_session() {
    let hub = TestHub::with(|options| options.amqp.max_unsettled = 16).await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_device(&hub, &device).await;
    client.attach(receiver(0, DEVICEBOUND)).await;
    client.credit(0, 0, 1000).await;
    let texts = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
    send(&hub, &device, &texts).await;
    for _ in 0..5 {
        for expected in texts {
            assert_eq!(next(&mut client).await.1, expected);
        }
        hub.clock.advance(Duration::from_secs(61));
    }
}

#[tokio::test]
async fn device_that_settles_nothing_leaves_room_for_the_others_of_its_session() {
    let hub = TestHub::with(|options| options.amqp.max_unsettled = 2).await;
    let device = hub.device("dev-1").await;
    let other = hub.device("dev-2").await;
    let mut client = Client::with_device(&hub, &device).await;
    assert_eq!(client.renew_token(&hub.device_token(&other)).await.0, 200);
    client.attach(receiver(0, DEVICEBOUND)).await;
    client.credit(0, 0, 2).await;
    send(&hub, &device, &["1", "2"]).await;
    next(&mut client).await;
    next(&mut client).await;
    let address = "/devices/dev-2/messages/devicebound";
    client.attach(receiver(1, address)).await;
    // What waits there past its lock does not use up the credit.
    client.credit(1, 0, 1).await;
    send(&hub, &other, &["for the other"]).await;
    assert_silent(&mut client).await;
    hub.clock.advance(Duration::from_secs(61));
    assert_eq!(next(&mut client).await.1, "for the other");
}

#[tokio::test]
async fn message_asked_for_settled_is_completed_as_it_goes_out() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_device(&hub, &device).await;
    let mut attach = receiver(0, DEVICEBOUND);
    attach.snd_settle_mode = Some(SenderSettleMode::Settled);
    client.attach(attach).await;
    client.credit(0, 0, 10).await;
    send(&hub, &device, &["once"]).await;
    let (transfer, _) = client.transfer().await;
    assert_eq!(transfer.settled, Some(true));
    until_count(&hub, &device, 0).await;
}

#[tokio::test]
async fn unsettled_messages_go_back_when_their_link_detaches() {
    let (hub, device, mut client) = listening(10).await;
    send(&hub, &device, &["1", "2"]).await;
    next(&mut client).await;
    next(&mut client).await;
    let detach = Detach {
        handle: 0,
        closed: true,
        error: None,
    };
    client.write(detach).await;
    client.detach().await;
    client.attach(receiver(1, DEVICEBOUND)).await;
    client.credit(1, 0, 10).await;
    for expected in ["1", "2"] {
        let (transfer, message) = client.transfer().await;
        assert_eq!((transfer.handle, body(&message)), (1, expected));
    }
}

#[tokio::test]
async fn unsettled_messages_of_a_lost_connection_go_to_the_next() {
    let (hub, device, mut client) = listening(10).await;
    send(&hub, &device, &["1"]).await;
    next(&mut client).await;
    drop(client);
    hub.until_gone(&device).await;
    let mut client = Client::with_device(&hub, &device).await;
    client.attach(receiver(0, DEVICEBOUND)).await;
    client.credit(0, 0, 10).await;
    assert_eq!(next(&mut client).await.1, "1");
}

#[tokio::test]
async fn draining_receiver_gets_what_waits_and_then_its_credit_used_up() {
    let (hub, device, mut client) = attached().await;
    send(&hub, &device, &["1", "2"]).await;
    let flow = Flow {
        next_incoming_id: Some(1),
        incoming_window: 5000,
        outgoing_window: 5000,
        handle: Some(0),
        delivery_count: Some(0),
        link_credit: Some(5),
        drain: true,
        ..Flow::default()
    };
    client.write(flow).await;
    assert_eq!(next(&mut client).await.1, "1");
    assert_eq!(next(&mut client).await.1, "2");
    let (Performative::Flow(flow), _) = client.frame().await else {
        panic!("no flow");
    };
    assert_eq!(
        (flow.handle, flow.delivery_count, flow.link_credit),
        (Some(0), Some(5), Some(0))
    );
}

#[tokio::test]
async fn large_message_is_split_to_the_frames_the_client_takes() {
    let (hub, device, mut client) = listening(10).await;
    let large = "x".repeat(200_000);
    send(&hub, &device, &[&large]).await;
    let mut received = 0;
    loop {
        let (Performative::Transfer(Transfer { more, .. }), payload) = client.answer().await else {
            panic!("no transfer");
        };
        received += payload.len();
        if !more {
            break;
        }
    }
    assert!(received > 200_000);
}

#[tokio::test]
async fn closed_session_window_holds_messages_back_until_it_opens() {
    let (hub, device, mut client) = attached().await;
    send(&hub, &device, &["1", "2", "3"]).await;
    let flow = |next_incoming_id, incoming_window| Flow {
        next_incoming_id: Some(next_incoming_id),
        incoming_window,
        outgoing_window: 5000,
        handle: Some(0),
        delivery_count: Some(0),
        link_credit: Some(10),
        ..Flow::default()
    };
    // The reply to the token was the first of the session.
    client.write(flow(2, 1)).await;
    assert_eq!(next(&mut client).await.1, "1");
    client.write(flow(3, 2)).await;
    assert_eq!(next(&mut client).await.1, "2");
    assert_eq!(next(&mut client).await.1, "3");
}

#[tokio::test]
async fn range_of_deliveries_is_settled_at_once() {
    let (hub, device, mut client) = listening(10).await;
    send(&hub, &device, &["1", "2", "3"]).await;
    let (first, ..) = next(&mut client).await;
    next(&mut client).await;
    let (last, ..) = next(&mut client).await;
    let disposition = Disposition {
        role: Role::Receiver,
        first,
        last: Some(last),
        settled: true,
        state: Some(DeliveryState::Accepted),
    };
    client.write(disposition).await;
    until_count(&hub, &device, 0).await;
}
