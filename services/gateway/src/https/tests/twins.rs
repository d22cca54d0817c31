//! twins.md §11.

use downlink_domain::twin::TwinChange;
use serde_json::json;

use super::*;

async fn hub() -> TestHub {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    hub
}

fn twin(hub: &TestHub, method: Method) -> Ask<'_> {
    ask(hub, method, "/twins/dev-1")
}

fn desired(value: &Value) -> Value {
    json!({"properties": {"desired": value}})
}

#[tokio::test]
async fn a_new_twin_reads_as_in_the_contract() {
    let hub = hub().await;
    let read = twin(&hub, Method::GET).send().await;
    let identity = ask(&hub, Method::GET, "/devices/dev-1").json().await;
    let since = "2026-01-05T12:00:00.0000000Z";
    let section = format!("{{\"$metadata\":{{\"$lastUpdated\":\"{since}\"}},\"$version\":1}}");
    let expected = format!(
        "{{\"deviceId\":\"dev-1\",\"etag\":\"AAAAAAAAAAE=\",\"deviceEtag\":{},\
         \"status\":\"enabled\",\"statusUpdateTime\":\"0001-01-01T00:00:00Z\",\
         \"connectionState\":\"Disconnected\",\"lastActivityTime\":\"0001-01-01T00:00:00Z\",\
         \"cloudToDeviceMessageCount\":0,\"authenticationType\":\"sas\",\"x509Thumbprint\":\
         {{\"primaryThumbprint\":null,\"secondaryThumbprint\":null}},\"modelId\":\"\",\
         \"version\":2,\"properties\":{{\"desired\":{section},\"reported\":{section}}},\
         \"capabilities\":{{\"iotEdge\":false}}}}",
        identity["etag"]
    );
    assert_eq!(read.body, expected);
    assert_eq!(read.header("etag"), None);
}

#[tokio::test]
async fn a_desired_patch_raises_versions_and_stamps_what_it_touched() {
    let hub = hub().await;
    let body = desired(&json!({"rate": 5}));
    let written = twin(&hub, Method::PATCH).body(&body).json().await;
    assert_eq!(
        (&written["version"], &written["etag"]),
        (&json!(3), &json!("AAAAAAAAAAI="))
    );
    let section = &written["properties"]["desired"];
    assert_eq!(section["$version"], 2);
    assert_eq!(section["$metadata"]["$lastUpdatedVersion"], 2);
    assert_eq!(section["$metadata"]["rate"]["$lastUpdatedVersion"], 2);
    assert!(written.get("tags").is_none());
    assert_eq!(twin(&hub, Method::GET).json().await, written);
}

#[tokio::test]
async fn a_post_that_says_it_is_a_patch_is_one() {
    let hub = hub().await;
    let body = desired(&json!({"rate": 5}));
    let plain = twin(&hub, Method::POST).body(&body).code().await;
    assert_eq!(plain, refused(405, "GenericMethodNotAllowed"));
    let mut patch = twin(&hub, Method::POST).body(&body);
    patch.request = patch.request.header("X-HTTP-Method-Override", "PATCH");
    let written = patch.json().await;
    assert_eq!(written["properties"]["desired"]["rate"], 5);
    let mut read = twin(&hub, Method::GET);
    read.request = read.request.header("X-HTTP-Method-Override", "PATCH");
    assert_eq!(read.json().await, written);
}

#[tokio::test]
async fn every_form_of_if_match_works_on_a_twin() {
    let hub = hub().await;
    let patch = |condition: &str| {
        twin(&hub, Method::PATCH)
            .body(&desired(&json!({"a": 1})))
            .if_match(condition)
    };
    for accepted in ["\"AAAAAAAAAAE=\"", "AAAAAAAAAAI=", "\"*\"", "*", "\"\""] {
        patch(accepted).json().await;
    }
    let stale = patch("\"AAAAAAAAAAE=\"").send().await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(stale.header("iothub-errorcode"), Some("PreconditionFailed"));
    let message = stale.json()["Message"].as_str().unwrap().to_owned();
    assert!(
        message.starts_with("ErrorCode:PreconditionFailed;"),
        "{message}"
    );
    let identity = ask(&hub, Method::GET, "/devices/dev-1").json().await;
    let wrong_one = patch(identity["etag"].as_str().unwrap()).code().await;
    assert_eq!(wrong_one, refused(412, "PreconditionFailed"));
}

#[tokio::test]
async fn a_whole_document_can_be_patched_back_and_reported_stays() {
    let hub = hub().await;
    let body = json!({"tags": {"site": "zrh"}, "properties": {"desired": {"a": 1}}});
    let mut document = twin(&hub, Method::PATCH).body(&body).json().await;
    document["properties"]["reported"]["invented"] = json!(1);
    document["properties"]["desired"]["b"] = json!(2);
    document["connectionState"] = json!("Connected");
    let written = twin(&hub, Method::PATCH).body(&document).json().await;
    assert_eq!(written["properties"]["reported"], {
        let mut reported = document["properties"]["reported"].clone();
        reported.as_object_mut().unwrap().remove("invented");
        reported
    });
    assert_eq!(written["properties"]["desired"]["b"], 2);
    assert_eq!(written["properties"]["desired"]["$version"], 3);
    assert_eq!(written["connectionState"], "Disconnected");
}

#[tokio::test]
async fn null_deletes_and_the_empty_parent_stays() {
    let hub = hub().await;
    let body = desired(&json!({"a": {"b": 1}, "c": 1}));
    twin(&hub, Method::PATCH).body(&body).json().await;
    let body = desired(&json!({"a": {"b": null}, "c": null, "missing": null}));
    let written = twin(&hub, Method::PATCH).body(&body).json().await;
    let mut section = written["properties"]["desired"]
        .as_object()
        .unwrap()
        .clone();
    section.remove("$metadata");
    assert_eq!(Value::Object(section), json!({"a": {}, "$version": 3}));
}

#[tokio::test]
async fn a_put_replaces_both_parts_and_wipes_what_is_left_out() {
    let hub = hub().await;
    let body = json!({"tags": {"site": "zrh"}, "properties": {"desired": {"a": 1}}});
    twin(&hub, Method::PATCH).body(&body).json().await;
    let body = desired(&json!({"b": 2, "none": null}));
    let written = twin(&hub, Method::PUT)
        .body(&body)
        .if_match("*")
        .json()
        .await;
    assert!(written.get("tags").is_none());
    let section = &written["properties"]["desired"];
    assert_eq!(
        (&section["b"], &section["$version"]),
        (&json!(2), &json!(3))
    );
    assert!(section.get("a").is_none() && section.get("none").is_none());
}

#[tokio::test]
async fn empty_parts_are_accepted_and_change_nothing() {
    let hub = hub().await;
    for body in [
        json!({}),
        json!({"tags": {}, "properties": {"desired": {}, "reported": {}}}),
        json!({"tags": null, "properties": null}),
    ] {
        let written = twin(&hub, Method::PATCH).body(&body).json().await;
        assert_eq!(written["version"], 2, "{body}");
    }
}

#[tokio::test]
async fn numbers_come_back_as_written() {
    let hub = hub().await;
    let body = r#"{"properties":{"desired":{"a":1.0,"b":1,"c":1.50}}}"#;
    let written = twin(&hub, Method::PATCH).text(body).send().await;
    let text = String::from_utf8(written.body.to_vec()).unwrap();
    assert!(
        text.contains(r#""desired":{"a":1.0,"b":1,"c":1.50,"$metadata""#),
        "{text}"
    );
}

#[tokio::test]
async fn limits_are_kept_and_nothing_is_applied() {
    let hub = hub().await;
    let big = |bytes: usize| {
        let parts = (0..bytes / 1000).map(|n| (format!("k{n:03}"), json!("x".repeat(996))));
        Value::Object(parts.collect())
    };
    let deep = (0..11).fold(json!(1), |inner, _| json!({"n": inner}));
    for body in [
        desired(&big(33_000)),
        json!({"tags": big(9_000)}),
        desired(&json!({"fine": 1, "n": deep})),
        desired(&json!({"fine": 1, "a.b": 1})),
        desired(&json!({"fine": 1, "list": [null]})),
        json!({"tags": {"$x": 1}}),
        json!({"tags": []}),
        json!({"properties": {"desired": 7}}),
        json!([]),
    ] {
        for method in [Method::PATCH, Method::PUT] {
            let write = twin(&hub, method).body(&body);
            assert_eq!(write.code().await, refused(400, "ArgumentInvalid"));
        }
    }
    assert_eq!(twin(&hub, Method::GET).json().await["version"], 2);
}

#[tokio::test]
async fn a_report_is_seen_at_once() {
    let hub = hub().await;
    let device = ask(&hub, Method::GET, "/devices/dev-1").json().await;
    let name: downlink_domain::id::DeviceId = "dev-1".parse().unwrap();
    let twins = &hub.shared.peers.twins;
    let found = twins
        .find_device(hub.shared.options.hub.clone(), name.into())
        .await;
    let patch = json!({"on": true}).as_object().unwrap().clone();
    let report = TwinChange::Report {
        patch,
        expected_version: None,
    };
    twins
        .report(found.unwrap().unwrap().key, report)
        .await
        .unwrap();
    let read = twin(&hub, Method::GET).json().await;
    assert_eq!(read["properties"]["reported"]["on"], true);
    assert_eq!(
        (&read["version"], &read["etag"]),
        (&json!(3), &json!("AAAAAAAAAAE="))
    );
    assert_eq!(read["deviceEtag"], device["etag"]);
}

#[tokio::test]
async fn a_missing_device_or_module_has_no_twin() {
    let hub = hub().await;
    for (method, path) in [
        (Method::GET, "/twins/nobody"),
        (Method::PATCH, "/twins/nobody"),
        (Method::PUT, "/twins/nobody"),
        (Method::GET, "/twins/dev-1/modules/m1"),
    ] {
        let asked = ask(&hub, method, path).body(&json!({}));
        assert_eq!(asked.code().await, refused(404, "DeviceNotFound"), "{path}");
    }
}

#[tokio::test]
async fn the_twin_of_a_disabled_device_is_served() {
    let hub = hub().await;
    let body = json!({"status": "disabled", "statusReason": "stolen"});
    let put = ask(&hub, Method::PUT, "/devices/dev-1")
        .body(&body)
        .if_match("*");
    put.json().await;
    let written = twin(&hub, Method::PATCH)
        .body(&desired(&json!({"a": 1})))
        .json()
        .await;
    assert_eq!(
        (&written["status"], &written["statusReason"]),
        (&json!("disabled"), &json!("stolen"))
    );
}
