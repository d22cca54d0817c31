//! registry.md §2.

use downlink_domain::id::ConnectionId;
use downlink_domain::presence::{ConnectionReport, Protocol};
use downlink_ports::{Clock, ConnectionChange, ConnectionStore};
use serde_json::json;

use super::*;

const STALE: &str = "\"c3RhbGU=\"";

fn disabled() -> Value {
    json!({"deviceId": "dev-1", "status": "disabled"})
}

#[tokio::test]
async fn a_created_device_reads_as_in_the_contract() {
    let hub = TestHub::new().await;
    let keys = json!({"primaryKey": "AQEBAQEBAQEBAQEBAQEBAQ==", "secondaryKey": "AgICAgICAgICAgICAgICAg=="});
    let body =
        json!({"deviceId": "dev-1", "authentication": {"type": "sas", "symmetricKey": keys}});
    let made = ask(&hub, Method::PUT, "/devices/dev-1")
        .body(&body)
        .send()
        .await;
    assert_eq!(made.status, StatusCode::OK);
    let document = made.json();
    let generation = document["generationId"].as_str().unwrap();
    assert!(generation.bytes().all(|b| b.is_ascii_digit()));
    let etag = document["etag"].as_str().unwrap();
    assert_eq!(made.header("etag"), Some(format!("\"{etag}\"").as_str()));
    assert_eq!(
        made.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    let expected = format!(
        "{{\"deviceId\":\"dev-1\",\"generationId\":\"{generation}\",\"etag\":\"{etag}\",\
         \"connectionState\":\"Disconnected\",\"status\":\"enabled\",\"statusReason\":null,\
         \"connectionStateUpdatedTime\":\"0001-01-01T00:00:00Z\",\
         \"statusUpdatedTime\":\"0001-01-01T00:00:00Z\",\
         \"lastActivityTime\":\"0001-01-01T00:00:00Z\",\"cloudToDeviceMessageCount\":0,\
         \"authentication\":{{\"symmetricKey\":{{\"primaryKey\":\"AQEBAQEBAQEBAQEBAQEBAQ==\",\
         \"secondaryKey\":\"AgICAgICAgICAgICAgICAg==\"}},\"x509Thumbprint\":\
         {{\"primaryThumbprint\":null,\"secondaryThumbprint\":null}},\"type\":\"sas\"}},\
         \"capabilities\":{{\"iotEdge\":false}}}}"
    );
    assert_eq!(made.body, expected);
    let read = ask(&hub, Method::GET, "/devices/dev-1").send().await;
    assert_eq!(
        (read.header("etag"), &read.body),
        (made.header("etag"), &made.body)
    );
}

#[tokio::test]
async fn keys_are_minted_when_they_are_missing_null_or_empty() {
    let hub = TestHub::new().await;
    let mut seen = std::collections::HashSet::new();
    for (index, authentication) in [
        json!(null),
        json!({}),
        json!({"type": "sas"}),
        json!({"type": "sas", "symmetricKey": null}),
        json!({"type": "sas", "symmetricKey": {"primaryKey": "", "secondaryKey": ""}}),
        json!({"symmetricKey": {"primaryKey": null, "secondaryKey": null}}),
    ]
    .into_iter()
    .enumerate()
    {
        let path = format!("/devices/dev-{index}");
        let body = json!({"authentication": authentication});
        let made = ask(&hub, Method::PUT, &path).body(&body).json().await;
        let keys = &made["authentication"]["symmetricKey"];
        for name in ["primaryKey", "secondaryKey"] {
            let key = keys[name].as_str().unwrap().to_owned();
            assert_eq!(key.len(), 44);
            assert!(seen.insert(key));
        }
    }
}

#[tokio::test]
async fn a_replacement_without_authentication_mints_new_keys() {
    let hub = TestHub::new().await;
    let put = || ask(&hub, Method::PUT, "/devices/dev-1").body(&json!({}));
    let first = put().json().await;
    let second = put().if_match("\"*\"").json().await;
    assert_ne!(first["authentication"], second["authentication"]);
    assert_eq!(first["generationId"], second["generationId"]);
    assert_ne!(first["etag"], second["etag"]);
}

#[tokio::test]
async fn a_put_without_condition_creates_or_conflicts() {
    let hub = TestHub::new().await;
    let put = || ask(&hub, Method::PUT, "/devices/dev-1").body(&json!({}));
    put().if_match("\"\"").json().await;
    assert_eq!(put().code().await, refused(409, "DeviceAlreadyExists"));
    assert_eq!(
        put().if_match("\"\"").code().await,
        refused(409, "DeviceAlreadyExists")
    );
}

#[tokio::test]
async fn a_put_with_star_replaces_and_does_not_create() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    for star in ["*", "\"*\""] {
        let put = ask(&hub, Method::PUT, "/devices/dev-1")
            .body(&disabled())
            .if_match(star);
        assert_eq!(put.json().await["status"], "disabled");
        let put = ask(&hub, Method::PUT, "/devices/nobody")
            .body(&json!({}))
            .if_match(star);
        assert_eq!(put.code().await, refused(404, "DeviceNotFound"));
    }
}

#[tokio::test]
async fn a_put_with_an_etag_needs_the_current_one() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let put = |path: &str| ask(&hub, Method::PUT, path).body(&json!({}));
    let etag = || async {
        let read = ask(&hub, Method::GET, "/devices/dev-1").json().await;
        read["etag"].as_str().unwrap().to_owned()
    };
    let quoted = format!("\"{}\"", etag().await);
    put("/devices/dev-1").if_match(&quoted).json().await;
    put("/devices/dev-1").if_match(&etag().await).json().await;
    for stale in [quoted.as_str(), STALE] {
        let code = put("/devices/dev-1").if_match(stale).code().await;
        assert_eq!(code, refused(412, "PreconditionFailed"));
    }
    let code = put("/devices/nobody").if_match(STALE).code().await;
    assert_eq!(code, refused(404, "DeviceNotFound"));
}

#[tokio::test]
async fn a_delete_needs_a_condition_that_holds() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    hub.device("dev-2").await;
    let delete = |path: &str| ask(&hub, Method::DELETE, path);
    assert_eq!(
        delete("/devices/dev-1").code().await,
        refused(412, "PreconditionFailed")
    );
    let stale = delete("/devices/dev-1").if_match(STALE).code().await;
    assert_eq!(stale, refused(412, "PreconditionFailed"));
    for condition in ["*", STALE] {
        let missing = delete("/devices/nobody").if_match(condition).code().await;
        assert_eq!(missing, refused(404, "DeviceNotFound"));
    }
    let etag = ask(&hub, Method::GET, "/devices/dev-2").json().await["etag"].clone();
    for (path, condition) in [
        ("/devices/dev-1", "*"),
        ("/devices/dev-2", etag.as_str().unwrap()),
    ] {
        let gone = delete(path).if_match(condition).send().await;
        assert_eq!(
            (gone.status, &gone.body[..]),
            (StatusCode::NO_CONTENT, &b""[..])
        );
        assert_eq!(
            ask(&hub, Method::GET, path).code().await,
            refused(404, "DeviceNotFound")
        );
    }
}

#[tokio::test]
async fn the_etag_in_the_body_is_no_condition() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let body = json!({"deviceId": "dev-1", "etag": "c3RhbGU=", "status": "disabled"});
    let put = ask(&hub, Method::PUT, "/devices/dev-1")
        .body(&body)
        .if_match("*");
    assert_eq!(put.json().await["status"], "disabled");
}

#[tokio::test]
async fn a_whole_document_can_be_sent_back() {
    let hub = TestHub::new().await;
    let path = "/devices/gw-1";
    let body = json!({"capabilities": {"iotEdge": true}, "statusReason": "new"});
    let made = ask(&hub, Method::PUT, path).body(&body).json().await;
    let scope = format!(
        "ms-azure-iot-edge://gw-1-{}",
        made["generationId"].as_str().unwrap()
    );
    assert_eq!(made["deviceScope"], json!(scope));
    assert_eq!(made["parentScopes"], json!([]));
    let again = ask(&hub, Method::PUT, path)
        .body(&made)
        .if_match("*")
        .json()
        .await;
    assert_eq!(again["authentication"], made["authentication"]);
    assert_eq!(again["statusReason"], "new");
    let twin = ask(&hub, Method::GET, "/twins/gw-1").json().await;
    assert_eq!(
        (&twin["deviceScope"], &twin["capabilities"]["iotEdge"]),
        (&json!(scope), &json!(true))
    );
}

#[tokio::test]
async fn certificates_are_kept_as_given() {
    let hub = TestHub::new().await;
    let print = "aB".repeat(20);
    let body = json!({"authentication": {
        "type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": print, "secondaryThumbprint": ""}
    }});
    let made = ask(&hub, Method::PUT, "/devices/dev-1")
        .body(&body)
        .json()
        .await;
    assert_eq!(
        made["authentication"],
        json!({
            "symmetricKey": {"primaryKey": null, "secondaryKey": null},
            "x509Thumbprint": {"primaryThumbprint": print, "secondaryThumbprint": null},
            "type": "selfSigned"
        })
    );
    let body = json!({"authentication": {"type": "certificateAuthority"}});
    let made = ask(&hub, Method::PUT, "/devices/dev-2")
        .body(&body)
        .json()
        .await;
    assert_eq!(made["authentication"]["type"], "certificateAuthority");
    let twin = ask(&hub, Method::GET, "/twins/dev-1").json().await;
    assert_eq!(twin["authenticationType"], "selfSigned");
    assert_eq!(twin["x509Thumbprint"]["primaryThumbprint"], json!(print));
}

#[tokio::test]
async fn fields_outside_their_rules_are_refused() {
    let hub = TestHub::new().await;
    let sas = |primary: &str, secondary: &str| {
        json!({"authentication": {"type": "sas", "symmetricKey":
            {"primaryKey": primary, "secondaryKey": secondary}}})
    };
    let good = "AQEBAQEBAQEBAQEBAQEBAQ==";
    for body in [
        json!({"deviceId": "other"}),
        json!({"deviceId": "DEV-1"}),
        json!({"deviceId": 7}),
        json!({"status": "asleep"}),
        json!({"statusReason": "x".repeat(129)}),
        json!({"authentication": {"type": "none"}}),
        json!({"authentication": {"type": "selfSigned", "x509Thumbprint": {"primaryThumbprint": "xyz"}}}),
        json!({"authentication": []}),
        json!({"capabilities": {"iotEdge": "yes"}}),
        sas(good, ""),
        sas("", good),
        sas(good, "not base64"),
        sas(good, "AQEB"),
        json!([]),
    ] {
        let put = ask(&hub, Method::PUT, "/devices/dev-1").body(&body);
        assert_eq!(put.code().await, refused(400, "ArgumentInvalid"), "{body}");
    }
    let put = ask(&hub, Method::PUT, "/devices/dev-1").text("{\"deviceId\":");
    assert_eq!(put.code().await, refused(400, "IotHubFormatError"));
}

#[tokio::test]
async fn ids_with_every_character_of_their_alphabet_work_raw_and_encoded() {
    let hub = TestHub::new().await;
    let id = "a-:.+%_#*?!(),=@;$'z";
    let encoded = "/devices/a-%3A.%2B%25_%23%2A%3F%21%28%29%2C%3D%40%3B%24%27z";
    let made = ask(&hub, Method::PUT, encoded)
        .body(&json!({"deviceId": id}))
        .json()
        .await;
    assert_eq!(made["deviceId"], id);
    let raw = "/devices/a-:.+%25_%23*%3F!(),=@;$'z";
    assert_eq!(ask(&hub, Method::GET, raw).json().await["deviceId"], id);
}

#[tokio::test]
async fn devices_are_listed_up_to_top() {
    let hub = TestHub::new().await;
    for id in ["a", "b", "c"] {
        hub.device(id).await;
    }
    let list = |query: &str| {
        let uri = format!("/devices/?{query}{VERSION}");
        ask_with(&hub, Method::GET, &uri, &hub.policy_token("registryRead"))
    };
    let ids = |listed: Value| -> Vec<String> {
        let devices = listed.as_array().unwrap().clone();
        devices
            .iter()
            .map(|device| device["deviceId"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(ids(list("top=2&").json().await), ["a", "b"]);
    for everything in [
        "",
        "top=0&",
        "top=-1&",
        "top=1001&",
        "top=99999999999&",
        "top=&",
    ] {
        assert_eq!(
            ids(list(everything).json().await),
            ["a", "b", "c"],
            "{everything}"
        );
    }
    assert_eq!(
        list("top=many&").code().await,
        refused(400, "ArgumentInvalid")
    );
}

#[tokio::test]
async fn connection_and_queue_are_told_with_the_identity() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let gateway = hub.shared.options.id.clone();
    let presence = &hub.shared.peers.presence;
    let entered = presence
        .connect(device.key, gateway.clone(), ConnectionId(1), Protocol::Mqtt)
        .await
        .unwrap();
    let message = downlink_domain::message::NewMessage {
        hub: hub.shared.options.hub.clone(),
        ..downlink_testkit::a_message_to("dev-1", "open")
    };
    hub.shared.peers.queue.enqueue(vec![message]).await.unwrap()[0]
        .clone()
        .unwrap();
    for document in [
        ask(&hub, Method::GET, "/devices/dev-1").json().await,
        ask(&hub, Method::GET, "/devices").json().await[0].clone(),
        ask(&hub, Method::GET, "/twins/dev-1").json().await,
    ] {
        assert_eq!(document["connectionState"], "Connected");
        assert_eq!(document["cloudToDeviceMessageCount"], 1);
    }
    let began = ConnectionChange {
        device: device.key,
        epoch: entered.epoch,
        gateway,
        report: ConnectionReport::Began,
        at: hub.clock.now(),
        active_at: hub.clock.now(),
    };
    hub.store.record_connections(vec![began]).await.unwrap();
    let counted = ask(&hub, Method::GET, "/statistics/service").send().await;
    assert_eq!(counted.body, r#"{"connectedDeviceCount":1}"#);
    // Presence loses the entry; the record does not.
    let lost = vec![(device.key, entered.epoch)];
    presence.disconnect(lost).await.unwrap();
    let document = ask(&hub, Method::GET, "/devices/dev-1").json().await;
    assert_eq!(document["connectionState"], "Connected");
}

#[tokio::test]
async fn the_registry_is_counted() {
    let hub = TestHub::new().await;
    for id in ["dev-1", "dev-2", "dev-3"] {
        hub.device(id).await;
    }
    let put = ask(&hub, Method::PUT, "/devices/dev-1")
        .body(&disabled())
        .if_match("*");
    put.json().await;
    let counted = ask(&hub, Method::GET, "/statistics/devices").send().await;
    assert_eq!(
        counted.body,
        r#"{"totalDeviceCount":3,"enabledDeviceCount":2,"disabledDeviceCount":1}"#
    );
}
