//! Twins (mqtt.md §11).

use downlink_domain::device::Device;
use downlink_mqtt::packet::{Delivery, Publish, Qos, ServerPacket};
use serde_json::{Value, json};

use super::client::{Client, id};
use crate::fakes::TestHub;

const RESPONSES: &str = "$iothub/twin/res/#";
const DESIRED: &str = "$iothub/twin/PATCH/properties/desired/#";
const GET: &str = "$iothub/twin/GET/?$rid=";
const PATCH: &str = "$iothub/twin/PATCH/properties/reported/?$rid=";

async fn connected(hub: &TestHub, device: &Device) -> Client {
    let (mut client, _) = Client::connect(hub, device).await;
    client.subscribe(RESPONSES, Qos::AtLeastOnce).await;
    client
}

#[track_caller]
fn body_of(publish: &Publish) -> Value {
    assert_eq!(publish.delivery, Delivery::AtMostOnce);
    serde_json::from_slice(&publish.payload).unwrap()
}

#[tokio::test]
async fn the_whole_twin_is_read() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = connected(&hub, &device).await;
    client.publish(&format!("{GET}0fa-1"), None, " ").await;
    let answer = client.next_publish().await;
    assert_eq!(answer.topic, "$iothub/twin/res/200/?$rid=0fa-1");
    let fresh = json!({"desired": {"$version": 1}, "reported": {"$version": 1}});
    assert_eq!(body_of(&answer), fresh);
}

#[tokio::test]
async fn a_reported_patch_is_acknowledged_and_answered_with_its_version() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = connected(&hub, &device).await;
    client
        .publish(&format!("{PATCH}1"), Some(9), r#"{"level":3}"#)
        .await;
    assert_eq!(client.next().await, Some(ServerPacket::Puback(id(9))));
    let answer = client.next_publish().await;
    assert_eq!(answer.topic, "$iothub/twin/res/204/?$rid=1&$version=2");
    assert!(answer.payload.is_empty());
    client
        .publish(&format!("{PATCH}2&$version=1"), None, r#"{"level":4}"#)
        .await;
    let refused = client.next_publish().await;
    assert_eq!(refused.topic, "$iothub/twin/res/412/?$rid=2");
    assert_eq!(body_of(&refused)["errorCode"], 412_001);
}

#[tokio::test]
async fn a_bad_patch_is_answered_and_the_connection_stays() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = connected(&hub, &device).await;
    for (request, body) in [
        ("1", "{"),
        ("2", "[]"),
        ("3", r#"{"$bad":1}"#),
        ("4&$version=x", "{}"),
    ] {
        client
            .publish(&format!("{PATCH}{request}"), None, body)
            .await;
        let answer = client.next_publish().await;
        assert!(
            answer.topic.starts_with("$iothub/twin/res/400/?$rid="),
            "{}",
            answer.topic
        );
        assert_eq!(body_of(&answer)["errorCode"], 400_004);
    }
    client.settle_down().await;
}

#[tokio::test]
async fn an_unreachable_service_is_an_answer_too() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = connected(&hub, &device).await;
    hub.backend.set_down(true);
    client.publish(&format!("{GET}1"), Some(4), "").await;
    assert_eq!(client.next().await, Some(ServerPacket::Puback(id(4))));
    let answer = client.next_publish().await;
    assert_eq!(answer.topic, "$iothub/twin/res/503/?$rid=1");
    assert_eq!(body_of(&answer)["errorCode"], 503_001);
}

#[tokio::test]
async fn without_a_subscription_a_patch_is_applied_and_its_answer_dropped() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client
        .publish(&format!("{PATCH}1"), Some(2), r#"{"level":3}"#)
        .await;
    assert_eq!(client.next().await, Some(ServerPacket::Puback(id(2))));
    client.settle_down().await;
    let twin = hub
        .shared
        .peers
        .twins
        .get_own_twin(device.key)
        .await
        .unwrap();
    assert_eq!(twin.reported.values["level"], 3);
}

#[tokio::test]
async fn a_patch_right_before_disconnect_is_applied() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client
        .publish(&format!("{PATCH}1"), None, r#"{"level":3}"#)
        .await;
    client
        .publish(&format!("{PATCH}2"), None, r#"{"level":4}"#)
        .await;
    client.disconnect().await;
    let twin = hub
        .shared
        .peers
        .twins
        .get_own_twin(device.key)
        .await
        .unwrap();
    assert_eq!(twin.reported.values["level"], 4);
}

#[tokio::test]
async fn desired_changes_arrive_in_order_with_their_versions() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    hub.patch_desired(&device, json!({"before": 1})).await;
    client.subscribe(DESIRED, Qos::AtLeastOnce).await;
    hub.patch_desired(&device, json!({"on": true})).await;
    hub.patch_desired(&device, json!({"on": null})).await;
    for (version, body) in [
        (3, json!({"on": true, "$version": 3})),
        (4, json!({"on": null, "$version": 4})),
    ] {
        let change = client.next_publish().await;
        let topic = format!("$iothub/twin/PATCH/properties/desired/?$version={version}");
        assert_eq!(change.topic, topic);
        assert_eq!(body_of(&change), body);
    }
}
