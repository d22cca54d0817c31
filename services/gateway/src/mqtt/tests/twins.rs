//! Twins (mqtt.md §11).

use downlink_domain::device::Device;
use downlink_mqtt::packet::{Connect, Delivery, Publish, Qos, ServerPacket};
use serde_json::{Value, json};

use super::client::{Client, RESUMED, connect_of, id};
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

/// The version and body of the next notification.
async fn next_change(client: &mut Client) -> (u64, Value) {
    let change = client.next_publish().await;
    let topic = "$iothub/twin/PATCH/properties/desired/?$version=";
    let version = change.topic.strip_prefix(topic).expect("a notification");
    let body = body_of(&change);
    assert_eq!(body["$version"].to_string(), version);
    (version.parse().unwrap(), body)
}

async fn patch(hub: &TestHub, device: &Device, numbers: std::ops::RangeInclusive<u64>) {
    for n in numbers {
        hub.patch_desired(device, json!({ "n": n })).await;
    }
}

#[tokio::test]
async fn a_device_that_names_its_version_is_told_every_change_since_before_any_other() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    patch(&hub, &device, 2..=4).await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    let filter = "$iothub/twin/PATCH/properties/desired/?$version=2";
    client.subscribe(filter, Qos::AtLeastOnce).await;
    patch(&hub, &device, 5..=5).await;
    for version in 3..=5 {
        let expected = (version, json!({"n": version, "$version": version}));
        assert_eq!(next_change(&mut client).await, expected);
    }
    // Whoever has the newest is told nothing.
    let filter = "$iothub/twin/PATCH/properties/desired/?$version=5";
    client.subscribe(filter, Qos::AtLeastOnce).await;
    client.settle_down().await;
}

#[tokio::test]
async fn a_device_that_missed_more_than_is_kept_is_told_the_whole_section() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    hub.patch_desired(&device, json!({"a": {"b": 1}})).await;
    // The hub of these tests keeps four changes.
    patch(&hub, &device, 3..=7).await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    let filter = "$iothub/twin/PATCH/properties/desired/?$version=2";
    client.subscribe(filter, Qos::AtMostOnce).await;
    let expected = (7, json!({"a": {"b": 1}, "n": 7, "$version": 7}));
    assert_eq!(next_change(&mut client).await, expected);
    patch(&hub, &device, 8..=8).await;
    assert_eq!(next_change(&mut client).await.0, 8);
}

#[tokio::test]
async fn a_stored_session_is_told_what_it_missed_before_its_twin() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = connected(&hub, &device).await;
    client.subscribe(DESIRED, Qos::AtLeastOnce).await;
    patch(&hub, &device, 2..=2).await;
    assert_eq!(next_change(&mut client).await.0, 2);
    client.disconnect().await;
    patch(&hub, &device, 3..=4).await;

    let (mut client, connack) = Client::connect(&hub, &device).await;
    assert_eq!(connack, RESUMED);
    client.publish(&format!("{GET}1"), None, "").await;
    assert_eq!(next_change(&mut client).await.0, 3);
    assert_eq!(next_change(&mut client).await.0, 4);
    let answer = client.next_publish().await;
    assert_eq!(body_of(&answer)["desired"]["$version"], 4);
    // Clients subscribe again; nothing comes twice.
    client.subscribe(DESIRED, Qos::AtLeastOnce).await;
    client.settle_down().await;
}

#[tokio::test]
async fn a_client_that_vanished_is_told_again_what_it_may_not_have_read() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client.subscribe(DESIRED, Qos::AtLeastOnce).await;
    patch(&hub, &device, 2..=2).await;
    assert_eq!(next_change(&mut client).await.0, 2);
    client.settle_down().await;
    patch(&hub, &device, 3..=3).await;
    assert_eq!(next_change(&mut client).await.0, 3);
    // A second ping says that the answer to the first was read, and what came before it.
    client.settle_down().await;
    client.vanish().await;
    patch(&hub, &device, 4..=4).await;

    let (mut client, _) = Client::connect(&hub, &device).await;
    assert_eq!(next_change(&mut client).await.0, 3);
    assert_eq!(next_change(&mut client).await.0, 4);
    client.settle_down().await;
}

#[tokio::test]
async fn a_clean_session_is_told_of_nothing_that_happened_before() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client.subscribe(DESIRED, Qos::AtLeastOnce).await;
    client.disconnect().await;
    patch(&hub, &device, 2..=3).await;
    let clean = Connect {
        clean_session: true,
        ..connect_of(&hub, &device)
    };
    let (mut client, _) = Client::connect_as(&hub, clean).await;
    client.subscribe(DESIRED, Qos::AtLeastOnce).await;
    client.settle_down().await;
    patch(&hub, &device, 4..=4).await;
    assert_eq!(next_change(&mut client).await.0, 4);
}
