//! Clients that mean no good, or read too slowly, on connections of devices.

use std::time::Duration;

use downlink_amqp::performative::{DeliveryState, Detach, Performative};

use super::client::{Client, receiver, rejection, sender, telemetry};
use super::*;

const DEVICEBOUND: &str = "/devices/dev-1/messages/devicebound";
const EVENTS: &str = "/devices/dev-1/messages/events";

fn detach(handle: u32) -> Detach {
    Detach {
        handle,
        closed: true,
        error: None,
    }
}

#[tokio::test]
async fn flood_of_attaches_while_a_device_is_let_in_is_bounded() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_device(&hub, &device).await;
    for handle in 0..40 {
        client.write(sender(handle, EVENTS)).await;
    }
    let mut refused = 0;
    let mut echoes = 0;
    while echoes < 40 {
        match client.answer().await.0 {
            Performative::Attach(_) => echoes += 1,
            Performative::Detach(detach) => {
                let condition = detach.error.unwrap().condition;
                assert_eq!(condition.as_str(), "amqp:resource-limit-exceeded");
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(refused >= 40 - 17, "{refused} refused");
}

#[tokio::test]
async fn client_that_attaches_and_detaches_in_a_loop_leaves_nothing_behind() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_device(&hub, &device).await;
    for _ in 0..300 {
        client.write(sender(0, EVENTS)).await;
        client.write(detach(0)).await;
        assert!(matches!(client.answer().await.0, Performative::Attach(_)));
        client.detach().await;
    }
    client.attach(sender(0, EVENTS)).await;
    let state = client.send_and_wait(0, &telemetry("on")).await;
    assert_eq!(state, DeliveryState::Accepted);
    drop(client);
    hub.until_gone(&device).await;
    assert_eq!(hub.metric("downlink_gateway_devices_connected"), 0);
}

#[tokio::test]
async fn peer_that_stops_reading_costs_its_own_connection_only() {
    let deadline = Duration::from_millis(300);
    let hub = TestHub::with(|options| {
        options.amqp.max_output_bytes = 64 * 1024;
        options.amqp.write_deadline = deadline;
        options.c2d_window = 50;
    })
    .await;
    let device = hub.device("dev-1").await;
    let other = hub.device("dev-2").await;
    let mut slow = Client::with_device(&hub, &device).await;
    slow.attach(receiver(0, DEVICEBOUND)).await;
    slow.credit(0, 0, 1000).await;
    let mut quick = Client::with_device(&hub, &other).await;
    quick
        .attach(sender(0, "/devices/dev-2/messages/events"))
        .await;
    // Far more than the pipe and the output hold together.
    let large = "x".repeat(100_000);
    send(&hub, &device, &vec![large.as_str(); 40]).await;
    let state = quick.send_and_wait(0, &telemetry("on")).await;
    assert_eq!(state, DeliveryState::Accepted);
    // The write that does not move ends the connection, and what it held goes back.
    hub.until_gone(&device).await;
    assert_eq!(take(&hub, &device, 50).await.len(), 40);
    let state = quick.send_and_wait(0, &telemetry("on")).await;
    assert_eq!(state, DeliveryState::Accepted);
    drop(slow);
}

#[tokio::test]
async fn slow_reader_gets_every_message_once() {
    let hub = TestHub::with(|options| {
        options.amqp.max_output_bytes = 64 * 1024;
        options.c2d_window = 50;
    })
    .await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_device(&hub, &device).await;
    client.attach(receiver(0, DEVICEBOUND)).await;
    client.credit(0, 0, 1000).await;
    let large = "x".repeat(40_000);
    let texts: Vec<String> = (0..50).map(|index| format!("{index}-{large}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    send(&hub, &device, &texts).await;
    for expected in &texts {
        let (_, message) = client.transfer().await;
        let downlink_amqp::message::Body::Data(data) = message.body else {
            panic!("no data");
        };
        assert_eq!(data, expected.as_bytes());
    }
}

#[tokio::test]
async fn telemetry_that_is_no_message_is_rejected_with_a_reason_and_the_link_stays() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_device(&hub, &device).await;
    client.attach(sender(0, EVENTS)).await;
    let delivery = client.send_raw(0, &[0xff; 9], 0).await;
    let disposition = client.disposition().await;
    assert_eq!(disposition.first, delivery);
    let condition = rejection(disposition.state.unwrap());
    assert_eq!(condition, "com.microsoft:argument-error");
    let delivery = client.send_raw(0, &telemetry("x").encode(), 17).await;
    let disposition = client.disposition().await;
    assert_eq!(disposition.first, delivery);
    rejection(disposition.state.unwrap());
    let state = client.send_and_wait(0, &telemetry("on")).await;
    assert_eq!(state, DeliveryState::Accepted);
}

#[tokio::test]
async fn telemetry_that_cannot_be_stored_is_rejected_and_the_next_is_taken() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::with_device(&hub, &device).await;
    client.attach(sender(0, EVENTS)).await;
    hub.backend.set_down(true);
    let state = client.send_and_wait(0, &telemetry("lost")).await;
    assert_eq!(rejection(state), "com.microsoft:timeout");
    hub.backend.set_down(false);
    let state = client.send_and_wait(0, &telemetry("kept")).await;
    assert_eq!(state, DeliveryState::Accepted);
    assert_eq!(hub.telemetry().await.len(), 1);
}

#[tokio::test]
async fn attach_and_flow_may_come_together_with_open() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    send(&hub, &device, &["early"]).await;
    let mut client = Client::plain(&hub, "dev-1@sas.hub", &hub.device_token(&device)).await;
    client.send_open().await;
    client.write(receiver(0, DEVICEBOUND)).await;
    client.credit(0, 0, 10).await;
    client.read_open().await;
    assert!(matches!(client.answer().await.0, Performative::Attach(_)));
    client.transfer().await;
}

#[tokio::test]
async fn connection_of_a_device_by_sasl_plain_needs_no_cbs_and_ends_with_the_device() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::plain(&hub, "dev-1@sas.hub", &hub.device_token(&device)).await;
    client.start().await;
    client.attach(sender(0, EVENTS)).await;
    let state = client.send_and_wait(0, &telemetry("on")).await;
    assert_eq!(state, DeliveryState::Accepted);
    let held = hub.shared.connections.find(device.key).unwrap();
    held.mailbox
        .close(downlink_domain::presence::DisconnectReason::Deleted);
    client.detach().await;
    let error = client.close().await.error.unwrap();
    assert_eq!(error.condition.as_str(), "amqp:unauthorized-access");
}
