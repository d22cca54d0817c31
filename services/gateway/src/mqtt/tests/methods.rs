//! Direct methods (mqtt.md §10).

use bytes::Bytes;
use downlink_domain::method::{MethodAnswer, MethodError};
use downlink_mqtt::packet::{Publish, Qos, ServerPacket};

use super::client::{Client, id};
use crate::fakes::TestHub;

const METHODS: &str = "$iothub/methods/POST/#";

#[track_caller]
fn rid_of(request: &Publish) -> &str {
    request.topic.rsplit_once("/?$rid=").unwrap().1
}

fn answer(status: i32, payload: &'static str) -> MethodAnswer {
    MethodAnswer {
        status,
        payload: Bytes::from_static(payload.as_bytes()),
    }
}

#[tokio::test]
async fn a_call_reaches_the_device_and_its_answer_the_caller() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client.subscribe(METHODS, Qos::AtLeastOnce).await;
    let call = hub.call(&device, "reboot", r#"{"in":5}"#);
    let request = client.next_publish().await;
    assert_eq!(request.payload, r#"{"in":5}"#);
    assert_eq!(
        request.delivery.packet_id(),
        None,
        "calls go out at quality of service 0"
    );
    let rid = rid_of(&request).to_owned();
    assert_eq!(
        request.topic,
        format!("$iothub/methods/POST/reboot/?$rid={rid}")
    );
    assert!(rid.bytes().all(|byte| byte.is_ascii_hexdigit()));
    client
        .publish(
            &format!("$iothub/methods/res/-5/?$rid={rid}"),
            Some(3),
            r#"{"ok":1}"#,
        )
        .await;
    assert_eq!(client.next().await, Some(ServerPacket::Puback(id(3))));
    assert_eq!(call.await.unwrap(), Ok(answer(-5, r#"{"ok":1}"#)));
}

#[tokio::test]
async fn answers_find_their_callers_whatever_their_order() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client.subscribe(METHODS, Qos::AtMostOnce).await;
    let mut calls = Vec::new();
    let mut rids = Vec::new();
    for name in ["one", "two"] {
        calls.push(hub.call(&device, name, ""));
        rids.push(rid_of(&client.next_publish().await).to_owned());
    }
    client
        .publish("$iothub/methods/res/1/?$rid=unknown", None, "null")
        .await;
    for (status, rid) in [(2, &rids[1]), (1, &rids[0]), (9, &rids[0])] {
        client
            .publish(
                &format!("$iothub/methods/res/{status}/?$rid={rid}"),
                None,
                "",
            )
            .await;
    }
    let two = calls.pop().unwrap().await.unwrap();
    let one = calls.pop().unwrap().await.unwrap();
    assert_eq!((one, two), (Ok(answer(1, "")), Ok(answer(2, ""))));
}

#[tokio::test]
async fn a_call_fails_at_once_when_the_connection_breaks() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client.subscribe(METHODS, Qos::AtMostOnce).await;
    let call = hub.call(&device, "reboot", "");
    client.next_publish().await;
    client.vanish().await;
    assert_eq!(call.await.unwrap(), Err(MethodError::ConnectionLost));
}

#[tokio::test]
async fn an_answer_that_is_not_json_is_the_devices_fault() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client.subscribe(METHODS, Qos::AtMostOnce).await;
    let call = hub.call(&device, "reboot", "");
    let request = client.next_publish().await;
    let rid = rid_of(&request);
    client
        .publish(&format!("$iothub/methods/res/200/?$rid={rid}"), None, "{")
        .await;
    assert_eq!(call.await.unwrap(), Err(MethodError::BadAnswer));
}

#[tokio::test]
async fn a_device_without_the_subscription_is_not_called() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (_client, _) = Client::connect(&hub, &device).await;
    assert_eq!(
        hub.call(&device, "reboot", "").await.unwrap(),
        Err(MethodError::NotSubscribed)
    );
}

#[tokio::test]
async fn a_subscription_for_one_method_gets_no_other() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let (mut client, _) = Client::connect(&hub, &device).await;
    client
        .subscribe("$iothub/methods/POST/reboot/#", Qos::AtMostOnce)
        .await;
    assert_eq!(
        hub.call(&device, "other", "").await.unwrap(),
        Ok(answer(501, "null"))
    );
    let _call = hub.call(&device, "reboot", "");
    assert!(
        client
            .next_publish()
            .await
            .topic
            .starts_with("$iothub/methods/POST/reboot/?")
    );
}
