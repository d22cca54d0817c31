//! twins.md §9, methods.md §3.4.

use serde_json::json;

use super::*;

fn twin(hub: &TestHub, method: Method) -> Ask<'_> {
    ask(hub, method, "/digitaltwins/dev-1")
}

#[tokio::test]
async fn a_device_without_a_model_reads_as_in_the_contract() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let read = twin(&hub, Method::GET).send().await;
    assert_eq!(read.body, r#"{"$dtId":"dev-1","$metadata":{"$model":""}}"#);
    assert_eq!(read.header("etag"), Some("\"AAAAAAAAAAE=\""));
    let missing = ask(&hub, Method::GET, "/digitaltwins/nobody").code().await;
    assert_eq!(missing, refused(404, "DeviceNotFound"));
}

#[tokio::test]
async fn a_patch_is_accepted_as_a_wish() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let patch = json!([
        {"op": "add", "path": "/target", "value": 21.5},
        {"op": "replace", "path": "/t1/limit", "value": {"low": 1}},
    ]);
    let written = twin(&hub, Method::PATCH).body(&patch).send().await;
    assert_eq!(
        (written.status, written.body.len()),
        (StatusCode::ACCEPTED, 0)
    );
    assert_eq!(written.header("etag"), Some("\"AAAAAAAAAAI=\""));
    assert_eq!(written.header("location"), Some("/digitaltwins/dev-1"));
    let read = ask(&hub, Method::GET, "/twins/dev-1").json().await;
    let desired = &read["properties"]["desired"];
    assert_eq!(
        (&desired["target"], &desired["t1"]),
        (&json!(21.5), &json!({"limit": {"low": 1}}))
    );

    let removal = json!([{"op": "remove", "path": "/target"}]);
    let stale = twin(&hub, Method::PATCH)
        .body(&removal)
        .if_match("\"AAAAAAAAAAE=\"");
    assert_eq!(stale.code().await, refused(412, "PreconditionFailed"));
    let bad = twin(&hub, Method::PATCH).body(&json!([{"op": "test", "path": "/a", "value": 1}]));
    assert_eq!(bad.code().await, refused(400, "ArgumentInvalid"));
}

#[tokio::test]
async fn a_command_is_a_method_call_whose_status_stands_in_a_header() {
    let answer = MethodAnswer {
        status: 207,
        payload: Bytes::from_static(b"{\"done\": true}"),
    };
    let (hub, router) = hub_answering(Ok(answer)).await;
    let path = "/digitaltwins/dev-1/components/thermostat1/commands/reboot";
    let reply = ask(&hub, Method::POST, path)
        .text("{\"delay\":3}")
        .send()
        .await;
    assert_eq!(
        (reply.status, &reply.body[..]),
        (StatusCode::OK, &b"{\"done\": true}"[..])
    );
    assert_eq!(reply.header("x-ms-command-statuscode"), Some("207"));
    assert!(reply.header("x-ms-request-id").is_some());
    let call = router.calls.lock()[0].clone();
    assert_eq!(call.name.as_str(), "thermostat1*reboot");
    assert_eq!(call.payload, "{\"delay\":3}");

    let path = "/digitaltwins/dev-1/commands/reboot";
    assert_eq!(
        ask(&hub, Method::POST, path).send().await.status,
        StatusCode::OK
    );
    assert_eq!(router.calls.lock()[1].payload, "");
    let missing = ask(&hub, Method::POST, "/digitaltwins/nobody/commands/reboot");
    assert_eq!(missing.code().await, refused(404, "DeviceNotFound"));
}

#[tokio::test]
async fn each_cause_of_a_failed_call_stands_beside_the_code() {
    for error in [
        MethodError::NotSubscribed,
        MethodError::Superseded,
        MethodError::Throttled,
    ] {
        let (hub, _) = hub_answering(Err(error)).await;
        let call = ask(&hub, Method::POST, "/twins/dev-1/methods");
        let reply = call.text(r#"{"methodName":"reboot"}"#).send().await;
        assert_eq!(reply.header("downlink-cause"), Some(error.cause()));
        assert_eq!(reply.header("iothub-errorcode"), Some(error.code().name()));
    }
    // Who was never there is told from who is not there now.
    let (hub, _) = hub_answering(Err(MethodError::NotOnline)).await;
    let call = ask(&hub, Method::POST, "/twins/dev-1/methods");
    let reply = call.text(r#"{"methodName":"reboot"}"#).send().await;
    assert_eq!(reply.header("downlink-cause"), Some("never-connected"));
    assert_eq!(reply.header("iothub-errorcode"), Some("DeviceNotOnline"));
}
