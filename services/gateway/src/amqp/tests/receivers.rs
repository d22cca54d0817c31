//! Receivers of feedback: how many, how fast, and what their words mean.

use std::collections::BTreeSet;
use std::time::Duration;

use downlink_amqp::frame::EMPTY_FRAME;
use downlink_amqp::message::{Body, Message};
use downlink_amqp::performative::{DeliveryState, Disposition, Flow, Performative, Role};
use tokio::time::Instant;

use super::client::{COMMANDS, Client, FEEDBACK, receiver, rejection, sender};
use super::feedback::{hub_with_feedback, produce_feedback, second_mode};
use super::*;

/// Ids of the messages that a batch reports on.
fn reported(batch: &Message) -> Vec<String> {
    let Body::Data(json) = &batch.body else {
        panic!("no data section")
    };
    let records: Vec<serde_json::Value> = serde_json::from_slice(json).unwrap();
    let ids = records.iter().map(|record| &record["originalMessageId"]);
    ids.map(|id| id.as_str().unwrap().to_owned()).collect()
}

/// A hub with `count` reports, one in each batch.
async fn hub_with_reports(count: usize) -> (TestHub, Client) {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.attach(sender(0, COMMANDS)).await;
    for number in 0..count {
        produce_feedback(&hub, &mut client, &device, &format!("cmd-{number}")).await;
    }
    (hub, client)
}

#[tokio::test(start_paused = true)]
async fn batches_that_wait_come_several_at_a_time() {
    let (_hub, mut client) = hub_with_reports(40).await;
    client.attach(receiver(1, FEEDBACK)).await;
    let started = Instant::now();
    client.credit(1, 0, 1000).await;
    let mut ids = BTreeSet::new();
    for _ in 0..40 {
        ids.extend(reported(&client.transfer().await.1));
    }
    assert_eq!(ids.len(), 40);
    // One after the other would be 40 times the 5 ms that the way of a batch takes.
    let took = started.elapsed();
    assert!(took < Duration::from_millis(60), "{took:?}");
}

#[tokio::test]
async fn no_more_batches_come_than_there_is_credit_for() {
    let (hub, mut client) = hub_with_reports(12).await;
    client.attach(receiver(1, FEEDBACK)).await;
    client.credit(1, 0, 5).await;
    for _ in 0..5 {
        client.transfer().await;
    }
    // What the first has no credit for goes to another.
    let mut other = Client::with_policy(&hub, "service").await;
    other.attach(receiver(1, FEEDBACK)).await;
    other.credit(1, 0, 1000).await;
    for _ in 0..7 {
        other.transfer().await;
    }
    client.credit(1, 5, 0).await;
    client.attach(sender(2, COMMANDS)).await;
}

#[tokio::test]
async fn each_report_goes_to_one_of_the_receivers_on_any_link() {
    let (hub, mut one) = hub_with_reports(0).await;
    let device = hub.device("dev-2").await;
    one.attach(receiver(1, FEEDBACK)).await;
    one.attach(receiver(2, FEEDBACK)).await;
    one.credit(1, 0, 10).await;
    one.credit(2, 0, 10).await;
    let mut two = Client::with_policy(&hub, "service").await;
    two.attach(receiver(1, FEEDBACK)).await;
    two.credit(1, 0, 10).await;
    let mut back_end = Client::with_policy(&hub, "service").await;
    back_end.attach(sender(0, COMMANDS)).await;
    let mut ids = BTreeSet::new();
    for number in 0..12 {
        let id = format!("cmd-{number}");
        produce_feedback(&hub, &mut back_end, &device, &id).await;
        let (_, batch) = tokio::select! {
            transfer = one.transfer() => transfer,
            transfer = two.transfer() => transfer,
        };
        assert_eq!(reported(&batch), [id.as_str()]);
        assert!(ids.insert(id));
    }
}

#[tokio::test]
async fn what_a_receiver_releases_or_modifies_comes_again_and_what_it_rejects_does_not() {
    let (hub, mut client) = hub_with_feedback().await;
    client.attach(receiver(1, FEEDBACK)).await;
    client.credit(1, 0, 100).await;
    let modified = DeliveryState::Modified {
        delivery_failed: true,
        undeliverable_here: false,
        annotations: None,
    };
    for state in [DeliveryState::Released, modified] {
        let (transfer, batch) = client.transfer().await;
        assert_eq!(reported(&batch), ["cmd-1"]);
        client
            .settle(transfer.delivery_id.unwrap(), true, state)
            .await;
    }
    let (transfer, _) = client.transfer().await;
    let rejected = DeliveryState::Rejected(None);
    client
        .settle(transfer.delivery_id.unwrap(), true, rejected)
        .await;
    let device = hub.device("dev-2").await;
    produce_feedback(&hub, &mut client, &device, "cmd-2").await;
    assert_eq!(reported(&client.transfer().await.1), ["cmd-2"]);
}

#[tokio::test]
async fn a_range_of_batches_is_settled_in_two_steps_one_by_one() {
    let (hub, mut client) = hub_with_reports(3).await;
    client.attach(second_mode(1)).await;
    client.credit(1, 0, 3).await;
    let mut deliveries = Vec::new();
    for _ in 0..3 {
        deliveries.push(client.transfer().await.0.delivery_id.unwrap());
    }
    // The lock of all three is good; after the word on the range none is held any more.
    let word = Disposition {
        role: Role::Receiver,
        first: deliveries[0],
        last: Some(deliveries[2]),
        settled: false,
        state: Some(DeliveryState::Accepted),
    };
    client.write(word).await;
    let mut answered = 0;
    while answered < 3 {
        let answer = client.disposition().await;
        assert_eq!(answer.state, Some(DeliveryState::Accepted));
        answered += answer.last.unwrap_or(answer.first) - answer.first + 1;
    }
    hub.clock.advance(Duration::from_secs(61));
    client.credit(1, 3, 1).await;
    let device = hub.device("dev-2").await;
    produce_feedback(&hub, &mut client, &device, "last").await;
    let (transfer, batch) = client.transfer().await;
    assert_eq!(reported(&batch), ["last"]);
    hub.clock.advance(Duration::from_secs(61));
    client
        .settle(
            transfer.delivery_id.unwrap(),
            false,
            DeliveryState::Released,
        )
        .await;
    let answer = client.disposition().await.state.unwrap();
    assert_eq!(rejection(answer), "com.microsoft:message-lock-lost");
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_comes_after_a_drain_goes_to_the_next_receiver() {
    let (hub, mut client) = hub_with_feedback().await;
    client.attach(receiver(1, FEEDBACK)).await;
    client.credit(1, 0, 1).await;
    // The batch is locked and takes 5 ms; the drain comes at once and uses the credit up.
    let flow = Flow {
        next_incoming_id: Some(1),
        incoming_window: 100,
        outgoing_window: 100,
        handle: Some(1),
        delivery_count: Some(0),
        link_credit: Some(1),
        drain: true,
        ..Flow::default()
    };
    client.write(flow).await;
    let answer = link_flow(&mut client, 1).await;
    assert_eq!(
        (answer.delivery_count, answer.link_credit),
        (Some(1), Some(0))
    );
    let mut next = Client::with_policy(&hub, "service").await;
    next.attach(receiver(1, FEEDBACK)).await;
    next.credit(1, 0, 1).await;
    assert_eq!(reported(&next.transfer().await.1), ["cmd-1"]);
}

#[tokio::test(start_paused = true)]
async fn a_receiver_without_credit_stays_and_its_echo_is_answered() {
    let (hub, mut client) = hub_with_feedback().await;
    client.attach(second_mode(1)).await;
    // As an idle SDK: an empty frame at half of what the hub announced.
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_mins(2)).await;
        client.raw(&EMPTY_FRAME).await;
    }
    let flow = Flow {
        next_incoming_id: Some(1),
        incoming_window: 100,
        outgoing_window: 100,
        handle: Some(1),
        delivery_count: Some(0),
        link_credit: Some(0),
        echo: true,
        ..Flow::default()
    };
    client.write(flow).await;
    let answer = link_flow(&mut client, 1).await;
    assert_eq!(
        (answer.delivery_count, answer.link_credit),
        (Some(0), Some(0))
    );
    client.credit(1, 0, 1).await;
    assert_eq!(reported(&client.transfer().await.1), ["cmd-1"]);
    drop(hub);
}

/// The next flow of a link.
async fn link_flow(client: &mut Client, handle: u32) -> Flow {
    loop {
        if let (Performative::Flow(flow), _) = client.frame().await
            && flow.handle == Some(handle)
        {
            return flow;
        }
    }
}
