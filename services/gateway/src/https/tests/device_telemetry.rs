//! http-device.md §2.

use downlink_domain::event::Event;

use super::device::{EVENTS, Raw};
use super::*;

const BATCH: &str = "Content-Type: application/vnd.microsoft.iothub.json; charset=utf-8";

/// What is stored, without the hub's own words.
fn said(event: &Event) -> Vec<(&str, &str)> {
    let all = event.properties.iter();
    let all = all.map(|(name, value)| (name.as_str(), value.as_str()));
    all.filter(|(name, _)| {
        !name.starts_with("iothub-connection-") && *name != "iothub-enqueuedtime"
    })
    .collect()
}

#[tokio::test]
async fn the_forms_of_all_sdks_arrive_equal() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Raw::of(&hub, &device);
    let node = [
        "iothub-to: /devices/dev-1/messages/events",
        "IoTHub-MessageId: m-1",
        "IoTHub-CorrelationId: c-1",
        "iothub-contenttype: application/json",
        "iothub-creation-time-utc: 2026-01-05T09:12:31Z",
        "iothub-app-tempAlert: true",
    ];
    let csharp = [
        "iothub-messageid: m-1",
        "iothub-correlationid: c-1",
        "iothub-contenttype: application/json",
        "iothub-creationtimeutc: 2026-01-05T09:12:31Z",
        "iothub-operation: d2c",
        "IOTHUB-APP-tempAlert: true",
    ];
    let java = [
        "content-type: binary/octet-stream",
        "iothub-messageid: m-1",
        "iothub-correlationid: c-1",
        "iothub-contenttype: application/json",
        "iothub-creation-time-utc: 2026-01-05T09:12:31Z",
        "iothub-app-tempAlert: true",
    ];
    for form in [node, csharp, java] {
        assert_eq!(client.ask("POST", EVENTS, &form, "21.5").await.status, 204);
    }
    let batch = r#"[{"body":"MjEuNQ==","properties":{"IoTHub-MessageId":"m-1","iothub-correlationid":"c-1",
        "iothub-contenttype":"application/json","iothub-creationtimeutc":"2026-01-05T09:12:31Z",
        "iothub-app-tempAlert":"true","iothub-to":"/devices/dev-1/messages/events"}}]"#;
    assert_eq!(
        client.ask("POST", EVENTS, &[BATCH], batch).await.status,
        204
    );
    let events = hub.telemetry().await;
    assert_eq!(events.len(), 4);
    for event in events {
        let expected = [
            ("message-id", "m-1"),
            ("correlation-id", "c-1"),
            ("content-type", "application/json"),
            ("iothub-creation-time-utc", "2026-01-05T09:12:31Z"),
            ("tempAlert", "true"),
        ];
        assert_eq!(said(&event), expected);
        assert_eq!(event.body, "21.5");
        let mut properties = event.properties.iter();
        let method = r#"{"scope":"device","type":"sas","issuer":"iothub"}"#;
        let stamp = (
            "iothub-connection-auth-method".to_owned(),
            method.to_owned(),
        );
        assert!(properties.any(|property| *property == stamp));
    }
    assert_eq!(hub.metric("downlink_gateway_telemetry_stored_total"), 4);
}

#[tokio::test]
async fn nobody_says_for_the_hub_who_sent_a_message() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Raw::of(&hub, &device);
    let forged = "iothub-app-iothub-connection-device-id: dev-2";
    assert_eq!(client.ask("POST", EVENTS, &[forged], "").await.status, 204);
    let event = hub.telemetry().await.remove(0);
    let named = event.properties.iter();
    let named: Vec<_> = named
        .filter(|(name, _)| name == "iothub-connection-device-id")
        .collect();
    assert_eq!(
        named,
        [&("iothub-connection-device-id".to_owned(), "dev-1".to_owned())]
    );
}

#[tokio::test]
async fn a_batch_is_stored_in_its_order_or_not_at_all() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Raw::of(&hub, &device);
    for bad in [
        "",
        "[]",
        "{}",
        r#"[{"body":"YQ=="},{"properties":{}}]"#,
        r#"[{"body":"YQ=="},{"body":"%"}]"#,
        r#"[{"body":"YQ=="},{"body":"","properties":{"iothub-app-a":"not allowed"}}]"#,
    ] {
        let refused = client.ask("POST", EVENTS, &[BATCH], bad).await;
        assert_eq!(refused.code(), (400, "ArgumentInvalid"), "{bad}");
    }
    assert!(hub.telemetry().await.is_empty());
    let text = r#"[{"body":"one","base64Encoded":false},{"body":"dHdv"},{"body":"three","base64Encoded":false}]"#;
    assert_eq!(client.ask("POST", EVENTS, &[BATCH], text).await.status, 204);
    let bodies: Vec<Bytes> = hub
        .telemetry()
        .await
        .into_iter()
        .map(|event| event.body)
        .collect();
    assert_eq!(bodies, ["one", "two", "three"]);
}

#[tokio::test]
async fn bad_properties_are_refused() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let mut client = Raw::of(&hub, &device);
    for bad in [
        "iothub-app-color: red and white",
        "iothub-app-color: gr\u{fc}n",
        "iothub-app-: red",
        "iothub-messageid: \u{e9}",
    ] {
        let refused = client.ask("POST", EVENTS, &[bad], "x").await;
        assert_eq!(refused.code(), (400, "ArgumentInvalid"), "{bad}");
    }
    assert!(hub.telemetry().await.is_empty());
}

#[tokio::test]
async fn a_message_beyond_the_limit_is_too_large_and_one_at_it_is_not() {
    let hub = TestHub::with(|options| options.max_telemetry_bytes = 1000).await;
    let device = hub.device("dev-1").await;
    let mut client = Raw::of(&hub, &device);
    let property = ["iothub-app-abcde: fghij"];
    assert_eq!(
        client
            .ask("POST", EVENTS, &property, &"x".repeat(990))
            .await
            .status,
        204
    );
    for (headers, length) in [(&property[..], 991), (&[], 1001), (&[BATCH], 1001)] {
        let refused = client
            .ask("POST", EVENTS, headers, &"x".repeat(length))
            .await;
        assert_eq!(refused.code(), (413, "MessageTooLarge"), "{length}");
    }
    let endless = ["Transfer-Encoding: chunked"];
    let _ = endless;
    assert_eq!(hub.telemetry().await.len(), 1);
}
