use std::time::Duration;

use downlink_amqp::message::Body;
use downlink_amqp::performative::{DeliveryState, Detach, Flow, ReceiverSettleMode, Role};
use downlink_amqp::types::Value;

use super::client::{COMMANDS, Client, FEEDBACK, command, receiver, rejection, sender};
use super::*;

/// Sends a message that wants feedback and completes it as the device.
pub(super) async fn produce_feedback(
    hub: &TestHub,
    client: &mut Client,
    device: &Device,
    id: &str,
) {
    let mut message = command(device.name.device.as_str(), id);
    message.application_properties = vec![("iothub-ack".into(), Value::from("full"))];
    assert_eq!(
        client.send_and_wait(0, &message).await,
        DeliveryState::Accepted
    );
    let locked = take(hub, device, 1).await.remove(0);
    complete(hub, device, &locked).await;
}

pub(super) async fn hub_with_feedback() -> (TestHub, Client) {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.attach(sender(0, COMMANDS)).await;
    produce_feedback(&hub, &mut client, &device, "cmd-1").await;
    (hub, client)
}

pub(super) fn second_mode(handle: u32) -> downlink_amqp::performative::Attach {
    let rcv_settle_mode = Some(ReceiverSettleMode::Second);
    downlink_amqp::performative::Attach {
        rcv_settle_mode,
        ..receiver(handle, FEEDBACK)
    }
}

#[tokio::test]
async fn completed_message_is_reported_and_the_report_is_settled() {
    let (hub, mut client) = hub_with_feedback().await;
    client.attach(receiver(1, FEEDBACK)).await;
    client.credit(1, 0, 1000).await;
    let (transfer, message) = client.transfer().await;
    assert_eq!(transfer.delivery_tag.unwrap().as_slice().len(), 16);
    assert_eq!((transfer.settled, transfer.message_format), (None, Some(0)));
    let Body::Data(json) = message.body else {
        panic!("no data section")
    };
    let records: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(records[0]["originalMessageId"], "cmd-1");
    assert_eq!(records[0]["statusCode"], "Success");
    client
        .settle(transfer.delivery_id.unwrap(), true, DeliveryState::Accepted)
        .await;

    // A second disposition for what is settled, as Node may send it, changes nothing.
    client
        .settle(transfer.delivery_id.unwrap(), true, DeliveryState::Accepted)
        .await;
    let device = hub.device("dev-2").await;
    produce_feedback(&hub, &mut client, &device, "cmd-2").await;
    let (_, message) = client.transfer().await;
    let Body::Data(json) = message.body else {
        panic!("no data section")
    };
    assert!(std::str::from_utf8(&json).unwrap().contains("cmd-2"));
}

#[tokio::test]
async fn receiver_that_settles_in_two_steps_is_answered_with_accepted() {
    let (_hub, mut client) = hub_with_feedback().await;
    let echo = client.attach(second_mode(1)).await;
    assert_eq!(echo.rcv_settle_mode, Some(ReceiverSettleMode::Second));
    client.credit(1, 0, 1).await;
    let (transfer, _) = client.transfer().await;
    client
        .settle(
            transfer.delivery_id.unwrap(),
            false,
            DeliveryState::Released,
        )
        .await;
    let answer = client.disposition().await;
    assert_eq!((answer.role, answer.settled), (Role::Sender, true));
    assert_eq!(answer.state, Some(DeliveryState::Accepted));

    // Released means: it comes again, under another tag.
    client.credit(1, 1, 1).await;
    let (again, _) = client.transfer().await;
    assert_ne!(again.delivery_tag, transfer.delivery_tag);
    client
        .settle(again.delivery_id.unwrap(), false, DeliveryState::Accepted)
        .await;
    assert_eq!(
        client.disposition().await.state,
        Some(DeliveryState::Accepted)
    );
}

#[tokio::test(start_paused = true)]
async fn a_batch_on_its_way_to_a_receiver_that_leaves_reaches_the_next() {
    let (hub, mut client) = hub_with_feedback().await;
    client.attach(receiver(1, FEEDBACK)).await;
    client.credit(1, 0, 1).await;
    // The answer shows that the credit was seen; the batch is locked and on its way.
    client.attach(sender(2, COMMANDS)).await;
    drop(client);
    let mut next = Client::with_policy(&hub, "service").await;
    next.attach(receiver(0, FEEDBACK)).await;
    next.credit(0, 0, 1).await;
    let (_, message) = next.transfer().await;
    let Body::Data(json) = message.body else {
        panic!("no data section")
    };
    assert!(std::str::from_utf8(&json).unwrap().contains("cmd-1"));
}

#[tokio::test]
async fn settling_after_the_lock_has_lapsed_is_answered_with_lock_lost() {
    let (hub, mut client) = hub_with_feedback().await;
    client.attach(second_mode(1)).await;
    client.credit(1, 0, 1).await;
    let (transfer, _) = client.transfer().await;
    hub.clock.advance(Duration::from_secs(61));
    client
        .settle(
            transfer.delivery_id.unwrap(),
            false,
            DeliveryState::Accepted,
        )
        .await;
    let answer = client.disposition().await;
    assert_eq!(
        rejection(answer.state.unwrap()),
        "com.microsoft:message-lock-lost"
    );
}

#[tokio::test]
async fn nothing_is_taken_from_the_queue_without_credit() {
    let (hub, mut client) = hub_with_feedback().await;
    client.attach(second_mode(1)).await;
    // The other receiver has credit, so the report goes there.
    let mut other = Client::with_policy(&hub, "service").await;
    other.attach(receiver(1, FEEDBACK)).await;
    other.credit(1, 0, 1).await;
    other.transfer().await;
}

#[tokio::test]
async fn report_of_a_receiver_that_detaches_goes_to_the_next() {
    let (hub, mut client) = hub_with_feedback().await;
    client.attach(receiver(1, FEEDBACK)).await;
    client.credit(1, 0, 1).await;
    client.transfer().await;
    client
        .write(Detach {
            handle: 1,
            closed: true,
            error: None,
        })
        .await;
    client.detach().await;
    let mut other = Client::with_policy(&hub, "service").await;
    other.attach(receiver(1, FEEDBACK)).await;
    other.credit(1, 0, 1).await;
    other.transfer().await;
}

#[tokio::test]
async fn report_of_a_lost_connection_goes_to_the_next() {
    let (hub, mut client) = hub_with_feedback().await;
    client.attach(receiver(1, FEEDBACK)).await;
    client.credit(1, 0, 1).await;
    client.transfer().await;
    drop(client);
    let mut other = Client::with_policy(&hub, "service").await;
    other.attach(receiver(1, FEEDBACK)).await;
    other.credit(1, 0, 1).await;
    other.transfer().await;
}

#[tokio::test]
async fn draining_receiver_gets_its_credit_used_up() {
    let hub = TestHub::new().await;
    let mut client = Client::with_policy(&hub, "service").await;
    client.attach(receiver(1, FEEDBACK)).await;
    let flow = Flow {
        next_incoming_id: Some(1),
        incoming_window: 100,
        outgoing_window: 100,
        handle: Some(1),
        delivery_count: Some(0),
        link_credit: Some(5),
        drain: true,
        ..Flow::default()
    };
    client.write(flow).await;
    let answer = loop {
        let (performative, _) = client.frame().await;
        match performative {
            downlink_amqp::performative::Performative::Flow(flow) if flow.handle == Some(1) => {
                break flow;
            }
            _ => {}
        }
    };
    assert_eq!(
        (answer.delivery_count, answer.link_credit),
        (Some(5), Some(0))
    );
    assert!(answer.drain);
}

#[tokio::test]
async fn file_notification_receiver_attaches_and_stays_silent() {
    let (_hub, mut client) = hub_with_feedback().await;
    let echo = client
        .attach(receiver(1, "/messages/serviceBound/filenotifications"))
        .await;
    assert!(echo.source.is_some());
    client.credit(1, 0, 10).await;
    // The feedback that waits comes on its own link, and nothing came before it.
    client.attach(receiver(2, FEEDBACK)).await;
    client.credit(2, 0, 10).await;
    assert_eq!(client.transfer().await.0.handle, 2);
}
