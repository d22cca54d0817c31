//! Cloud-to-device messages (mqtt.md §8, c2d.md §4).

use std::time::Duration;

use bytes::Bytes;
use downlink_domain::device::Device;
use downlink_domain::message::{AckMode, NewMessage, Properties};
use downlink_mqtt::packet::{ClientPacket, Delivery, Publish, Qos, ServerPacket, Unsubscribe};

use downlink_ports::Clock;

use super::client::{Client, RESUMED, connect_of, id};
use crate::fakes::TestHub;

fn message(device: &Device, body: &str) -> NewMessage {
    NewMessage {
        hub: device.hub.clone(),
        device: device.name.device.clone(),
        properties: Properties::default(),
        ack: AckMode::None,
        expiry: None,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

async fn enqueue(hub: &TestHub, message: NewMessage) {
    let outcome = hub
        .shared
        .peers
        .queue
        .enqueue(vec![message])
        .await
        .unwrap()
        .remove(0);
    outcome.expect("the queue has room");
}

async fn waiting(hub: &TestHub, device: &Device) -> u64 {
    hub.shared
        .peers
        .queue
        .count(vec![device.key])
        .await
        .unwrap()[0]
}

fn filter(device: &Device) -> String {
    format!("devices/{}/messages/devicebound/#", device.name.device)
}

#[tokio::test]
async fn a_message_arrives_with_its_properties_and_completes_on_puback() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::listening(&hub, &device).await;
    let mut sent = message(&device, "open");
    sent.properties.message_id = Some("m-1".to_owned());
    sent.properties.application = vec![("a b".to_owned(), "1/2".to_owned())];
    sent.ack = AckMode::Full;
    sent.properties.expiry = Some(hub.clock.now() + Duration::from_hours(1));
    enqueue(&hub, sent).await;
    let received = client.next_publish().await;
    assert_eq!(
        received.topic,
        "devices/dev-1/messages/devicebound/%24.mid=m-1\
         &%24.to=%2Fdevices%2Fdev-1%2Fmessages%2Fdevicebound\
         &%24.exp=2026-01-05T13%3A00%3A00.0000000Z&iothub-ack=full&a%20b=1%2F2"
    );
    assert_eq!(
        (&received.payload[..], received.retain),
        (&b"open"[..], false)
    );
    assert!(!received.delivery.is_dup());
    assert_eq!(waiting(&hub, &device).await, 1);
    client.puback(&received).await;
    client.disconnect().await;
    assert_eq!(waiting(&hub, &device).await, 0);
}

#[tokio::test]
async fn messages_sent_while_the_device_is_away_arrive_in_order_without_a_subscribe() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    Client::listening(&hub, &device).await.disconnect().await;
    for number in 0..20 {
        enqueue(&hub, message(&device, &number.to_string())).await;
    }
    let (mut client, connack) = Client::connect(&hub, &device).await;
    assert_eq!(connack, RESUMED);
    for number in 0..20 {
        let received = client.next_publish().await;
        assert_eq!(received.payload, number.to_string());
        client.puback(&received).await;
    }
    client.disconnect().await;
    assert_eq!(waiting(&hub, &device).await, 0);
}

#[tokio::test]
async fn nothing_is_locked_for_a_device_that_does_not_listen() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    enqueue(&hub, message(&device, "open")).await;
    client.settle_down().await;
    client.subscribe(&filter(&device), Qos::AtLeastOnce).await;
    let received = client.next_publish().await;
    assert_eq!(received.payload, "open");
    assert!(!received.delivery.is_dup(), "it was not delivered before");
}

#[tokio::test]
async fn an_unacknowledged_message_comes_again_marked_and_under_the_same_identifier() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::listening(&hub, &device).await;
    enqueue(&hub, message(&device, "open")).await;
    let first = client.next_publish().await;
    client.vanish().await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    let second = client.next_publish().await;
    let packet_id = first.delivery.packet_id().unwrap();
    assert_eq!(
        second.delivery,
        Delivery::AtLeastOnce {
            packet_id,
            dup: true
        }
    );
    assert_eq!((second.topic, second.payload), (first.topic, first.payload));
}

#[tokio::test]
async fn a_lapsed_lock_brings_the_message_again_on_the_same_connection() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::listening(&hub, &device).await;
    enqueue(&hub, message(&device, "open")).await;
    let first = client.next_publish().await;
    client.settle_down().await;
    hub.clock.advance(Duration::from_secs(61));
    let second = client.next_publish().await;
    let packet_id = first.delivery.packet_id().unwrap();
    assert_eq!(
        second.delivery,
        Delivery::AtLeastOnce {
            packet_id,
            dup: true
        }
    );
    client.puback(&second).await;
    client.puback(&first).await;
    client.disconnect().await;
    assert_eq!(
        waiting(&hub, &device).await,
        0,
        "a late second PUBACK is ignored"
    );
}

#[tokio::test]
async fn the_window_holds_back_what_is_not_yet_acknowledged() {
    let hub = TestHub::with(|options| options.c2d_window = 2).await;
    let device = hub.device("dev-1").await;
    let mut client = Client::listening(&hub, &device).await;
    for body in ["1", "2", "3"] {
        enqueue(&hub, message(&device, body)).await;
    }
    let first = client.next_publish().await;
    let second = client.next_publish().await;
    client.settle_down().await;
    client.puback(&second).await;
    let third = client.next_publish().await;
    assert_eq!(
        [first.payload, second.payload, third.payload],
        ["1", "2", "3"]
    );
}

#[tokio::test]
async fn a_window_of_messages_that_are_never_acknowledged_does_not_stop_others_for_ever() {
    let hub = TestHub::with(|options| options.c2d_window = 1).await;
    let device = hub.device("dev-1").await;
    let mut client = Client::listening(&hub, &device).await;
    let mut short_lived = message(&device, "short");
    short_lived.expiry = Some(downlink_ports::Clock::now(&*hub.clock) + Duration::from_secs(30));
    enqueue(&hub, short_lived).await;
    assert_eq!(client.next_publish().await.payload, "short");
    enqueue(&hub, message(&device, "long")).await;
    client.settle_down().await;
    hub.clock.advance(Duration::from_secs(61));
    assert_eq!(client.next_publish().await.payload, "long");
}

#[tokio::test]
async fn at_quality_of_service_zero_a_message_is_complete_when_sent() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client.subscribe(&filter(&device), Qos::AtMostOnce).await;
    enqueue(&hub, message(&device, "open")).await;
    let received = client.next_publish().await;
    assert_eq!(received.delivery, Delivery::AtMostOnce);
    client.disconnect().await;
    assert_eq!(waiting(&hub, &device).await, 0);
}

#[tokio::test]
async fn after_unsubscribing_messages_stay_in_the_queue() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::listening(&hub, &device).await;
    let unsubscribe = Unsubscribe {
        packet_id: id(5),
        filters: vec![filter(&device)],
    };
    client.send(ClientPacket::Unsubscribe(unsubscribe)).await;
    assert_eq!(client.next().await, Some(ServerPacket::Unsuback(id(5))));
    enqueue(&hub, message(&device, "open")).await;
    client.settle_down().await;
    client.disconnect().await;
    let (_client, connack) = Client::connect(&hub, &device).await;
    assert_ne!(connack, RESUMED, "no subscription is left to store");
    assert_eq!(waiting(&hub, &device).await, 1);
}

#[tokio::test]
async fn a_second_connection_takes_over_what_the_first_held() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut first = Client::listening(&hub, &device).await;
    enqueue(&hub, message(&device, "open")).await;
    assert_eq!(first.next_publish().await.payload, "open");
    let (mut second, connack) = Client::connect(&hub, &device).await;
    assert_eq!(connack, RESUMED);
    first.expect_close().await;
    let received = second.next_publish().await;
    assert_eq!(received.payload, "open");
    assert!(received.delivery.is_dup());
    second.puback(&received).await;
    second.disconnect().await;
    assert_eq!(waiting(&hub, &device).await, 0);
}

#[tokio::test]
async fn a_message_whose_topic_cannot_fit_is_rejected_and_others_go_on() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Client::listening(&hub, &device).await;
    let mut too_long = message(&device, "x");
    too_long.properties.application = vec![("p".to_owned(), "/".repeat(40_000))];
    enqueue(&hub, too_long).await;
    enqueue(&hub, message(&device, "next")).await;
    assert_eq!(client.next_publish().await.payload, "next");
    client.disconnect().await;
    assert_eq!(
        waiting(&hub, &device).await,
        1,
        "the long one is dead-lettered"
    );
}

#[tokio::test(start_paused = true)]
async fn a_device_that_does_not_read_is_closed_and_keeps_its_messages() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    Client::listening(&hub, &device).await.disconnect().await;
    enqueue(&hub, message(&device, &"x".repeat(60_000))).await;
    let mut client = Client::dial_with(&hub, 1024);
    client.send(connect_of(&hub, &device).into()).await;
    let started = tokio::time::Instant::now();
    client.served.await.unwrap();
    assert_eq!(
        started.elapsed().as_secs(),
        hub.shared.options.mqtt.write_deadline.as_secs()
    );
    let mut client = Client::connect(&hub, &device).await.0;
    let Publish { payload, .. } = client.next_publish().await;
    assert_eq!(payload.len(), 60_000);
}
