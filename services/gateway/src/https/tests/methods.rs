//! methods.md §1, §2, §6.

use std::time::Duration;

use serde_json::json;

use super::*;

fn invoke<'a>(hub: &'a TestHub, body: &str) -> Ask<'a> {
    ask(hub, Method::POST, "/twins/dev-1/methods").text(body)
}

fn answer(status: i32, payload: &'static str) -> MethodAnswer {
    MethodAnswer {
        status,
        payload: Bytes::from_static(payload.as_bytes()),
    }
}

const REBOOT: &str = r#"{"methodName":"reboot"}"#;

#[tokio::test]
async fn every_kind_of_payload_goes_and_comes_as_it_is() {
    for payload in [
        "null",
        "true",
        "1.50",
        "-7e3",
        "\"text \\u00e9\"",
        "[1,[2],{}]",
        r#"{"b":{"a":[1,2]},"a":null}"#,
    ] {
        let (hub, router) = hub_answering(Ok(answer(200, payload))).await;
        let body = format!(r#"{{"methodName":"echo","payload":{payload}}}"#);
        let reply = invoke(&hub, &body).send().await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(
            reply.body,
            format!(r#"{{"status":200,"payload":{payload}}}"#)
        );
        assert_eq!(
            reply.header("content-type"),
            Some("application/json; charset=utf-8")
        );
        assert_eq!(router.calls.lock()[0].payload, payload);
    }
}

#[tokio::test]
async fn the_call_carries_name_target_and_timeouts() {
    let (hub, router) = hub_answering(Ok(answer(200, ""))).await;
    let body = r#"{"methodName":"reboot","responseTimeoutInSeconds":200,
        "connectTimeoutInSeconds":5,"payload":{"delay":3}}"#;
    let reply = invoke(&hub, body).send().await;
    assert_eq!(reply.body, r#"{"status":200,"payload":null}"#);
    let call = router.calls.lock()[0].clone();
    assert_eq!(
        (call.name.as_str(), call.target.to_string().as_str()),
        ("reboot", "dev-1")
    );
    assert_eq!(call.timeouts.response(), Duration::from_secs(200));
    assert_eq!(call.timeouts.connect(), Duration::from_secs(5));
}

#[tokio::test]
async fn any_status_of_the_device_is_a_success() {
    for status in [500, 404, -1, 0] {
        let (hub, _) = hub_answering(Ok(answer(status, "{}"))).await;
        let reply = invoke(&hub, REBOOT).json().await;
        assert_eq!(reply, json!({"status": status, "payload": {}}));
    }
}

#[tokio::test]
async fn failures_have_their_codes_in_the_nested_shape() {
    for (error, status, name, number) in [
        (MethodError::NotOnline, 404, "DeviceNotOnline", 404_103),
        (
            MethodError::ConnectionLost,
            404,
            "DeviceConnectionClosedRemotely",
            404_104,
        ),
        (
            MethodError::Superseded,
            400,
            "ConnectionForcefullyClosedOnNewConnection",
            400_027,
        ),
        (MethodError::TimedOut, 504, "GatewayTimeout", 504_101),
        (
            MethodError::TooManyInFlight,
            403,
            "DeviceMaximumInflightMethodExceeded",
            403_800,
        ),
        (MethodError::BadAnswer, 502, "GenericBadGateway", 502_000),
        (
            MethodError::PayloadTooLarge,
            413,
            "MessageTooLarge",
            413_001,
        ),
        (MethodError::Unavailable, 503, "ServiceUnavailable", 503_001),
    ] {
        let (hub, _) = hub_answering(Err(error)).await;
        let reply = invoke(&hub, REBOOT).send().await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("iothub-errorcode")),
            (status, Some(name))
        );
        let body = reply.json();
        assert_eq!(body["ExceptionMessage"], "");
        let inner: Value = serde_json::from_str(body["Message"].as_str().unwrap()).unwrap();
        assert_eq!(
            (&inner["errorCode"], &inner["info"]),
            (&json!(number), &Value::Null)
        );
        let members: Vec<&String> = inner.as_object().unwrap().keys().collect();
        assert_eq!(
            members,
            ["errorCode", "trackingId", "message", "info", "timestampUtc"]
        );
    }
}

#[tokio::test]
async fn an_answer_that_is_not_json_is_a_bad_gateway() {
    let (hub, _) = hub_answering(Ok(answer(200, "{not json"))).await;
    assert_eq!(
        invoke(&hub, REBOOT).code().await,
        refused(502, "GenericBadGateway")
    );
}

#[tokio::test]
async fn unknown_and_disabled_devices_and_modules_are_not_found() {
    let (hub, router) = hub_answering(Ok(answer(200, ""))).await;
    let body = json!({"status": "disabled"});
    ask(&hub, Method::PUT, "/devices/dev-1")
        .body(&body)
        .if_match("*")
        .json()
        .await;
    for (path, name, number) in [
        ("/twins/nobody/methods", "DeviceNotFound", 404_001),
        ("/twins/dev-1/methods", "DeviceNotFound", 404_001),
        ("/twins/dev-1/modules/m1/methods", "ModuleNotFound", 404_010),
    ] {
        let reply = ask(&hub, Method::POST, path).text(REBOOT).send().await;
        assert_eq!(
            (reply.status.as_u16(), reply.header("iothub-errorcode")),
            (404, Some(name))
        );
        let message = reply.json()["Message"].as_str().unwrap().to_owned();
        let inner: Value = serde_json::from_str(&message).unwrap();
        assert_eq!(inner["errorCode"], number);
    }
    assert!(router.calls.lock().is_empty());
}

#[tokio::test]
async fn a_call_outside_the_rules_never_leaves_the_door() {
    let (hub, router) = hub_answering(Ok(answer(200, ""))).await;
    for body in [
        r#"{"payload":1}"#,
        r#"{"methodName":""}"#,
        r#"{"methodName":"m","connectTimeoutInSeconds":31,"responseTimeoutInSeconds":30}"#,
        r#"{"methodName":"m","responseTimeoutInSeconds":301}"#,
    ] {
        assert_eq!(
            invoke(&hub, body).code().await,
            refused(400, "ArgumentInvalid"),
            "{body}"
        );
    }
    assert!(router.calls.lock().is_empty());
}
