//! Telemetry and wills (mqtt.md §9, §2.4).

use bytes::Bytes;
use downlink_mqtt::packet::{
    ClientPacket, Connect, ConnectWill, Delivery, Publish, Qos, ServerPacket,
};

use super::client::{Client, NOT_AUTHORIZED, connect_of, id};
use crate::fakes::TestHub;

const EVENTS: &str = "devices/dev-1/messages/events/";

fn will(topic: &str) -> ConnectWill {
    let payload = Bytes::from_static(b"gone");
    ConnectWill {
        topic: topic.to_owned(),
        payload,
        qos: Qos::AtLeastOnce,
        retain: false,
    }
}

#[tokio::test]
async fn telemetry_is_acknowledged_when_it_is_stored() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client
        .publish(&format!("{EVENTS}$.ct=text%2Fplain&a=b/"), Some(7), "21.5")
        .await;
    assert_eq!(client.next().await, Some(ServerPacket::Puback(id(7))));
    let stored = hub.telemetry().await.remove(0);
    assert_eq!(stored.body, "21.5");
    let of = |name: &str| {
        let found = stored.properties.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(
        (of("content-type"), of("a")),
        (Some("text/plain"), Some("b"))
    );
    assert_eq!(of("iothub-connection-device-id"), Some("dev-1"));
}

#[tokio::test]
async fn flags_of_a_publish_become_properties() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    let publish = Publish {
        topic: EVENTS.to_owned(),
        delivery: Delivery::AtLeastOnce {
            packet_id: id(1),
            dup: true,
        },
        retain: true,
        payload: Bytes::new(),
    };
    client.send(ClientPacket::Publish(publish)).await;
    assert_eq!(client.next().await, Some(ServerPacket::Puback(id(1))));
    let stored = hub.telemetry().await.remove(0);
    for name in ["mqtt-dup", "mqtt-retain"] {
        assert!(
            stored
                .properties
                .contains(&(name.to_owned(), "true".to_owned()))
        );
    }
}

#[tokio::test]
async fn many_publishes_at_once_are_all_acknowledged_in_order() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    for number in 1..=900 {
        client.publish(EVENTS, Some(number), "x").await;
    }
    for number in 1..=900 {
        assert_eq!(client.next().await, Some(ServerPacket::Puback(id(number))));
    }
    assert_eq!(hub.telemetry().await.len(), 900);
}

#[tokio::test]
async fn messages_of_very_many_properties_are_taken_a_few_at_a_time() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    let topic = format!("{EVENTS}{}", "a&".repeat(20_000));
    for number in 1..=20 {
        client.publish(&topic, Some(number), "").await;
    }
    for number in 1..=20 {
        assert_eq!(client.next().await, Some(ServerPacket::Puback(id(number))));
    }
    assert_eq!(hub.telemetry().await.len(), 20);
}

#[tokio::test]
async fn telemetry_that_cannot_be_stored_closes_without_an_acknowledgement() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    hub.backend.set_down(true);
    client.publish(EVENTS, Some(7), "x").await;
    client.expect_close().await;
}

#[tokio::test]
async fn what_was_published_before_disconnect_is_stored() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    for _ in 0..3 {
        client.publish(EVENTS, None, "x").await;
    }
    client.disconnect().await;
    assert_eq!(hub.telemetry().await.len(), 3);
}

#[tokio::test]
async fn a_will_is_published_when_the_connection_breaks_and_only_then() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let connect = || Connect {
        will: Some(will("devices/dev-1/messages/events/a=b")),
        ..connect_of(&hub, &device)
    };
    let (client, _) = Client::connect_as(&hub, connect()).await;
    client.disconnect().await;
    assert_eq!(hub.telemetry().await, []);
    let (client, _) = Client::connect_as(&hub, connect()).await;
    client.vanish().await;
    let stored = hub.telemetry().await.remove(0);
    assert_eq!(stored.body, "gone");
    let marked = ("iothub-MessageType".to_owned(), "Will".to_owned());
    assert!(stored.properties.contains(&marked));
}

#[tokio::test]
async fn a_will_for_another_topic_refuses_the_connection() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let connect = Connect {
        will: Some(will("devices/dev-2/messages/events/")),
        ..connect_of(&hub, &device)
    };
    let (mut client, connack) = Client::connect_as(&hub, connect).await;
    assert_eq!(connack, NOT_AUTHORIZED);
    client.expect_close().await;
}
