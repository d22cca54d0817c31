//! registry.md §4, §1 row 22.

use downlink_domain::event::EventKind;
use downlink_ports::{EventOutbox as _, MAX_REGISTRY_ITEMS};
use serde_json::json;

use super::*;
use crate::fakes::TestIssuer;

async fn hub() -> TestHub {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    hub.device("dev-2").await;
    hub
}

fn item(id: &str, mode: &str) -> Value {
    json!({"id": id, "importMode": mode})
}

async fn etag_of(hub: &TestHub, path: &str) -> String {
    let read = ask(hub, Method::GET, path).json().await;
    read["etag"].as_str().unwrap().to_owned()
}

async fn bulk(hub: &TestHub, items: Value) -> Value {
    ask(hub, Method::POST, "/devices").body(&items).json().await
}

#[tokio::test]
async fn all_items_done_is_200_without_errors() {
    let hub = hub().await;
    let done = json!({"isSuccessful": true, "errors": [], "warnings": []});
    let first = json!({
        "id": "dev-3", "importMode": "Create", "status": "disabled", "statusReason": "new",
        "authentication": {"type": "sas", "symmetricKey": {"primaryKey": "", "secondaryKey": ""}},
        "capabilities": {"iotEdge": true},
        "tags": {"site": "zrh"}, "properties": {"desired": {"rate": 10}, "reported": {"x": 1}},
    });
    let module =
        json!({"id": "dev-3", "moduleId": "m1", "importMode": "create", "managedBy": "me"});
    let bare = json!({"id": "dev-4"});
    assert_eq!(bulk(&hub, json!([first, module, bare])).await, done);
    let made = ask(&hub, Method::GET, "/devices/dev-3").json().await;
    assert_eq!(
        (
            &made["status"],
            &made["statusReason"],
            &made["capabilities"]["iotEdge"]
        ),
        (&json!("disabled"), &json!("new"), &json!(true))
    );
    let twin = ask(&hub, Method::GET, "/twins/dev-3").json().await;
    assert_eq!(twin["tags"], json!({"site": "zrh"}));
    assert_eq!(twin["properties"]["desired"]["rate"], json!(10));
    assert_eq!(twin["properties"]["reported"].get("x"), None);

    let stale_etag = etag_of(&hub, "/devices/dev-4").await;
    let update = json!({"id": "dev-4", "importMode": "UPDATEIFMATCHETAG", "eTag": stale_etag,
        "statusReason": "updated"});
    assert_eq!(bulk(&hub, json!([update])).await, done);
    let update = json!({"id": "dev-4", "importMode": "update", "status": "disabled"});
    assert_eq!(bulk(&hub, json!([update])).await, done);
    let read = ask(&hub, Method::GET, "/devices/dev-4").json().await;
    assert_eq!(
        (&read["status"], &read["statusReason"]),
        (&json!("disabled"), &json!(null))
    );

    let twin_etag = etag_of(&hub, "/twins/dev-4").await;
    let patch = json!({"id": "dev-4", "importMode": "updateTwin", "tags": {"a": 1}});
    assert_eq!(bulk(&hub, json!([patch])).await, done);
    let patch = json!({"id": "dev-4", "importMode": "updateTwinIfMatchETag", "twinETag": twin_etag,
        "properties": {"desired": {"b": 2}}});
    let stale = ask(&hub, Method::POST, "/devices")
        .body(&json!([patch]))
        .send()
        .await;
    assert_eq!(
        stale.json()["errors"][0]["errorStatus"],
        "PreconditionFailed"
    );
    let twin = ask(&hub, Method::GET, "/twins/dev-4").json().await;
    assert_eq!(twin["tags"], json!({"a": 1}));

    let etag = etag_of(&hub, "/devices/dev-4").await;
    let gone = json!([
        {"id": "dev-4", "importMode": "deleteIfMatchETag", "eTag": format!("\"{etag}\"")},
        item("dev-3", "delete"),
    ]);
    assert_eq!(bulk(&hub, gone).await, done);
    let count = ask(&hub, Method::GET, "/statistics/devices").json().await;
    assert_eq!(count["totalDeviceCount"], 2);
}

#[tokio::test]
async fn items_that_fail_are_400_with_the_result_and_both_headers_and_the_others_are_done() {
    let hub = hub().await;
    let items = json!([
        item("dev-1", "create"),
        item("dev-9", "create"),
        item("dev-8", "update"),
        {"id": "dev-2", "importMode": "updateIfMatchETag", "eTag": "c3RhbGU="},
        {"id": "dev-2x", "importMode": "deleteIfMatchETag"},
        item("dev-7", "delete"),
        item("twice", "create"),
        item("twice", "delete"),
        item("dev-6", "createOrReplace"),
        item("no id", "create"),
        {"importMode": "create"},
        {"id": "dev-1", "moduleId": "m1", "importMode": "delete"},
        {"id": "dev-5", "importMode": "updateTwin", "tags": {}},
        {"id": "dev-4", "importMode": "create", "authentication": {"type": "none"}},
    ]);
    let reply = ask(&hub, Method::POST, "/devices")
        .body(&items)
        .send()
        .await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    for header in ["iothub-errorcode", "iothuberrorcode"] {
        assert_eq!(reply.header(header), Some("BulkRegistryOperationFailure"));
    }
    let result = reply.json();
    assert_eq!(
        (&result["isSuccessful"], &result["warnings"]),
        (&json!(false), &json!([]))
    );
    let errors: Vec<_> = result["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            let text = |name: &str| error[name].as_str().unwrap_or("-").to_owned();
            let code = error["errorCode"].as_u64().unwrap();
            (text("deviceId"), text("moduleId"), code, text("operation"))
        })
        .collect();
    let expected = [
        ("dev-1", "-", 409_001, "create"),
        ("dev-8", "-", 404_001, "update"),
        ("dev-2", "-", 412_001, "updateIfMatchETag"),
        ("dev-2x", "-", 404_001, "deleteIfMatchETag"),
        ("dev-7", "-", 404_001, "delete"),
        ("twice", "-", 400_011, "delete"),
        ("dev-6", "-", 400_004, ""),
        ("no id", "-", 400_004, "create"),
        ("", "-", 400_004, "create"),
        ("dev-1", "m1", 404_010, "delete"),
        ("dev-5", "-", 404_001, "updateTwin"),
        ("dev-4", "-", 400_004, "create"),
    ];
    let expected = expected.map(|(device, module, code, mode)| {
        (device.to_owned(), module.to_owned(), code, mode.to_owned())
    });
    assert_eq!(errors, expected);
    assert_eq!(result["errors"][0]["errorStatus"], "DeviceAlreadyExists");
    ask(&hub, Method::GET, "/devices/dev-9").json().await;
}

#[tokio::test]
async fn a_body_that_is_no_list_of_at_most_100_items_is_refused_whole() {
    let hub = hub().await;
    let post = |body: &Value| ask(&hub, Method::POST, "/devices").body(body);
    let many: Vec<_> = (0..=MAX_REGISTRY_ITEMS)
        .map(|number| item(&format!("many-{number}"), "create"))
        .collect();
    let too_many = post(&json!(many)).code().await;
    assert_eq!(too_many, refused(413, "TooManyDevices"));
    assert_eq!(
        ask(&hub, Method::GET, "/devices/many-0").code().await,
        refused(404, "DeviceNotFound")
    );
    let done = bulk(&hub, json!(many[..MAX_REGISTRY_ITEMS])).await;
    assert_eq!(done["isSuccessful"], json!(true));
    for body in [json!({}), json!([7]), json!(null)] {
        assert_eq!(post(&body).code().await, refused(400, "ArgumentInvalid"));
    }
    let broken = ask(&hub, Method::POST, "/devices").text("[{");
    assert_eq!(broken.code().await, refused(400, "IotHubFormatError"));
    assert_eq!(bulk(&hub, json!([])).await["isSuccessful"], json!(true));
}

#[tokio::test]
async fn each_item_needs_its_right() {
    let issuer = TestIssuer::new();
    let hub = issuer.hub().await;
    hub.device("dev-1").await;
    let items = json!([item("dev-1", "delete"), item("dev-2", "create")]);
    for (token, expected) in [
        (hub.policy_token("registryRead"), 401),
        (hub.policy_token("service"), 401),
        (hub.policy_token("device"), 401),
        (issuer.bearer(&hub, "read-twins"), 403),
        (issuer.bearer(&hub, "none"), 403),
        (hub.policy_token("registryReadWrite"), 200),
    ] {
        for path in ["/devices", "/devices/keys/regenerate"] {
            let uri = format!("{path}?{VERSION}");
            let body = if path == "/devices" {
                items.clone()
            } else {
                json!({"policyKey": "both", "devices": []})
            };
            let asked = ask_with(&hub, Method::POST, &uri, &token).body(&body);
            assert_eq!(asked.send().await.status.as_u16(), expected, "{path}");
        }
    }
}

#[tokio::test]
async fn each_item_has_its_audit_record() {
    let hub = hub().await;
    let items = json!([
        item("dev-1", "delete"),
        item("dev-3", "create"),
        item("dev-4", "delete")
    ]);
    ask(&hub, Method::POST, "/devices")
        .body(&items)
        .send()
        .await;
    let events = hub.store.read_after(0, 1000).await.unwrap();
    let told: Vec<_> = events
        .into_iter()
        .filter(|(_, event)| {
            let body = String::from_utf8_lossy(&event.body);
            event.kind == EventKind::Audit && body.contains("policy iothubowner")
        })
        .filter_map(|(_, event)| {
            let mut named = event.properties.into_iter();
            named.find(|(name, _)| name == "opType")
        })
        .map(|(_, operation)| operation)
        .collect();
    assert_eq!(told, ["deleteDeviceIdentity", "createDeviceIdentity"]);
}

#[tokio::test]
async fn keys_are_regenerated_for_many_and_each_answers_for_itself() {
    let hub = hub().await;
    let module = json!({"authentication": {"type": "certificateAuthority"}});
    ask(&hub, Method::PUT, "/devices/dev-1/modules/m1")
        .body(&module)
        .json()
        .await;
    let keys = async |path: &str| {
        let read = ask(&hub, Method::GET, path).json().await;
        let keys = read["authentication"]["symmetricKey"].clone();
        (keys["primaryKey"].clone(), keys["secondaryKey"].clone())
    };
    let regenerate = |body: &Value| ask(&hub, Method::POST, "/devices/keys/regenerate").body(body);
    let (primary, secondary) = keys("/devices/dev-1").await;
    let one = json!({"policyKey": "primaryKey", "devices": [{"id": "dev-1"}]});
    let done = regenerate(&one).json().await;
    let (new_primary, same_secondary) = keys("/devices/dev-1").await;
    assert_ne!(new_primary, primary);
    assert_eq!(same_secondary, secondary);
    let rotated = json!([{"id": "dev-1", "moduleId": null, "primaryKey": new_primary}]);
    let expected = json!({"policyKey": "primaryKey", "rotatedKeys": rotated, "errors": []});
    assert_eq!(done, expected);

    let some = json!({"policyKey": "both", "devices": [
        {"id": "dev-2"}, {"id": "nobody"}, {"id": "dev-1", "moduleId": "m1"},
    ]});
    let before = keys("/devices/dev-2").await;
    let reply = regenerate(&some).send().await;
    assert_eq!(reply.status, StatusCode::MULTI_STATUS);
    let after = keys("/devices/dev-2").await;
    assert!(before.0 != after.0 && before.1 != after.1);
    let told = reply.json();
    assert_eq!(told["rotatedKeys"][0]["secondaryKey"], after.1);
    let codes = [&told["errors"][0], &told["errors"][1]].map(|error| error["errorCode"].clone());
    assert_eq!(codes, [json!(404_001), json!(400_003)]);

    let none = json!({"policyKey": "secondaryKey", "devices": [{"id": "nobody"}]});
    let reply = regenerate(&none).send().await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    let code = reply.header("iothub-errorcode");
    assert_eq!(code, Some("BulkRegenerateDeviceKeyOperationFailure"));
    for (body, expected) in [
        (json!({"devices": []}), refused(400, "InvalidPolicyKey")),
        (
            json!({"policyKey": "all", "devices": []}),
            refused(400, "InvalidPolicyKey"),
        ),
        (
            json!({"policyKey": "both"}),
            refused(400, "ArgumentInvalid"),
        ),
        (
            json!({"policyKey": "both", "devices": vec![json!({"id": "x"}); 101]}),
            refused(413, "TooManyDevices"),
        ),
    ] {
        assert_eq!(regenerate(&body).code().await, expected, "{body}");
    }
}
