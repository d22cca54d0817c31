//! registry.md §3, §2.1 (scopes).

use serde_json::json;

use super::*;
use crate::fakes::TestIssuer;

const MODULE: &str = "/devices/dev-1/modules/m1";

async fn hub() -> TestHub {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    hub
}

#[tokio::test]
async fn a_created_module_reads_as_in_the_contract() {
    let hub = hub().await;
    let keys = json!({"primaryKey": "AQEBAQEBAQEBAQEBAQEBAQ==", "secondaryKey": "AgICAgICAgICAgICAgICAg=="});
    let body = json!({"deviceId": "dev-1", "moduleId": "m1", "managedBy": "me",
        "authentication": {"type": "sas", "symmetricKey": keys}});
    let made = ask(&hub, Method::PUT, MODULE).body(&body).send().await;
    assert_eq!(made.status, StatusCode::OK, "{:?}", made.body);
    assert_eq!(made.header("etag"), None);
    let document = made.json();
    let (generation, etag) = (&document["generationId"], &document["etag"]);
    let expected = format!(
        "{{\"moduleId\":\"m1\",\"managedBy\":\"me\",\"deviceId\":\"dev-1\",\
         \"generationId\":{generation},\"etag\":{etag},\"connectionState\":\"Disconnected\",\
         \"connectionStateUpdatedTime\":\"0001-01-01T00:00:00Z\",\
         \"lastActivityTime\":\"0001-01-01T00:00:00Z\",\"cloudToDeviceMessageCount\":0,\
         \"authentication\":{{\"symmetricKey\":{{\"primaryKey\":\"AQEBAQEBAQEBAQEBAQEBAQ==\",\
         \"secondaryKey\":\"AgICAgICAgICAgICAgICAg==\"}},\"x509Thumbprint\":\
         {{\"primaryThumbprint\":null,\"secondaryThumbprint\":null}},\"type\":\"sas\"}}}}"
    );
    assert_eq!(made.body, expected);
    let read = ask(&hub, Method::GET, MODULE).send().await;
    assert_eq!((read.header("etag"), &read.body), (None, &made.body));
    let listed = ask(&hub, Method::GET, "/devices/dev-1/modules")
        .send()
        .await;
    assert_eq!(listed.body, format!("[{expected}]"));
}

#[tokio::test]
async fn a_module_that_is_there_conflicts_in_the_flat_shape() {
    let hub = hub().await;
    let put = || ask(&hub, Method::PUT, MODULE).body(&json!({}));
    put().json().await;
    let reply = put().send().await;
    assert_eq!(reply.status, StatusCode::CONFLICT);
    let code = reply.header("iothub-errorcode");
    assert_eq!(code, Some("ModuleAlreadyExistsOnDevice"));
    let body = reply.json();
    assert_eq!(body["errorCode"], json!(409_301));
    assert!(body["trackingId"].is_string() && body["message"].is_string());
    assert_eq!(body.get("Message"), None);
}

#[tokio::test]
async fn a_module_is_written_under_its_condition() {
    let hub = hub().await;
    let put = || ask(&hub, Method::PUT, MODULE).body(&json!({"managedBy": "me"}));
    let missing = refused(404, "ModuleNotFound");
    assert_eq!(put().if_match("*").code().await, missing);
    let first = put().json().await;
    let stale = refused(412, "PreconditionFailed");
    assert_eq!(put().if_match("\"c3RhbGU=\"").code().await, stale);
    let etag = format!("\"{}\"", first["etag"].as_str().unwrap());
    let again = ask(&hub, Method::PUT, MODULE)
        .body(&json!({}))
        .if_match(&etag);
    let second = again.json().await;
    assert_eq!(second["managedBy"], json!(null));
    assert_ne!(second["authentication"], first["authentication"]);
    assert_eq!(second["generationId"], first["generationId"]);

    let delete = || ask(&hub, Method::DELETE, MODULE);
    assert_eq!(delete().code().await, stale);
    assert_eq!(delete().if_match(&etag).code().await, stale);
    let gone = delete().if_match("\"*\"").send().await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(delete().if_match("*").code().await, missing);
    assert_eq!(ask(&hub, Method::GET, MODULE).code().await, missing);
}

#[tokio::test]
async fn fields_of_modules_outside_their_rules_are_refused() {
    let hub = hub().await;
    for body in [
        json!({"moduleId": "other"}),
        json!({"deviceId": "other"}),
        json!({"managedBy": "x".repeat(129)}),
        json!({"managedBy": 7}),
        json!({"authentication": {"type": "sesame"}}),
        json!([]),
    ] {
        let put = ask(&hub, Method::PUT, MODULE).body(&body);
        assert_eq!(put.code().await, refused(400, "ArgumentInvalid"), "{body}");
    }
    let put = ask(&hub, Method::PUT, "/devices/dev-1/modules/$mine").body(&json!({}));
    assert_eq!(put.code().await, refused(400, "ArgumentInvalid"));
    // No proof is as good as keys.
    let none = json!({"authentication": {"type": "none"}});
    let made = ask(&hub, Method::PUT, MODULE).body(&none).json().await;
    assert_eq!(made["authentication"]["type"], "sas");
    assert!(made["authentication"]["symmetricKey"]["primaryKey"].is_string());
}

#[tokio::test]
async fn modules_of_a_missing_or_disabled_device_are_answered_by_who_asks() {
    let issuer = TestIssuer::new();
    let hub = issuer.hub().await;
    let off = json!({"status": "disabled"});
    ask(&hub, Method::PUT, "/devices/off")
        .body(&off)
        .json()
        .await;
    let bearer = issuer.bearer(&hub, "all");
    let policy = hub.policy_token("iothubowner");
    let denied = refused(401, "IotHubUnauthorizedAccess");
    for (token, device, expected) in [
        (&policy, "nobody", denied.clone()),
        (&policy, "off", denied.clone()),
        (&bearer, "nobody", refused(404, "DeviceNotFound")),
        (&bearer, "off", refused(404, "ModuleNotFound")),
    ] {
        for method in [Method::GET, Method::DELETE] {
            let uri = format!("/devices/{device}/modules/m1?{VERSION}");
            let asked = ask_with(&hub, method.clone(), &uri, token).if_match("*");
            assert_eq!(asked.code().await, expected, "{method} {device}");
        }
    }
    let uri = format!("/devices/off/modules?{VERSION}");
    let listed = ask_with(&hub, Method::GET, &uri, &bearer).json().await;
    assert_eq!(listed, json!([]));
    assert_eq!(
        ask_with(&hub, Method::GET, &uri, &policy).code().await,
        denied
    );
}

#[tokio::test]
async fn modules_need_the_rights_on_their_device() {
    let hub = hub().await;
    for (policy, method, expected) in [
        ("registryRead", Method::GET, 404),
        ("registryRead", Method::PUT, 401),
        ("registryRead", Method::DELETE, 401),
        ("registryReadWrite", Method::PUT, 200),
        ("service", Method::GET, 401),
    ] {
        let uri = format!("{MODULE}?{VERSION}");
        let asked = ask_with(&hub, method, &uri, &hub.policy_token(policy));
        let reply = asked.body(&json!({})).send().await;
        assert_eq!(reply.status.as_u16(), expected, "{policy}");
    }
}

#[tokio::test]
async fn an_edge_device_shows_its_system_modules() {
    let hub = TestHub::new().await;
    let edge = json!({"capabilities": {"iotEdge": true}});
    ask(&hub, Method::PUT, "/devices/gw")
        .body(&edge)
        .json()
        .await;
    let listed = ask(&hub, Method::GET, "/devices/gw/modules").json().await;
    let told: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|module| {
            let of = |name: &str| module[name].as_str().unwrap().to_owned();
            let kind = module["authentication"]["type"].as_str().unwrap();
            (of("moduleId"), of("managedBy"), kind.to_owned())
        })
        .collect();
    let expected = ["$edgeAgent", "$edgeHub"]
        .map(|id| (id.to_owned(), "iotEdge".to_owned(), "none".to_owned()));
    assert_eq!(told, expected);
    for path in [
        "/devices/gw/modules/$edgeAgent",
        "/devices/gw/modules/%24edgeHub",
    ] {
        ask(&hub, Method::GET, path).json().await;
        let delete = ask(&hub, Method::DELETE, path).if_match("*");
        assert_eq!(delete.code().await, refused(400, "ArgumentInvalid"));
    }
}

#[tokio::test]
async fn a_leaf_names_the_scope_of_its_parent() {
    let hub = TestHub::new().await;
    let edge = json!({"capabilities": {"iotEdge": true}, "deviceScope": ""});
    let put = |path: &str, body: &Value| ask(&hub, Method::PUT, path).body(body);
    let gateway = put("/devices/gw", &edge).json().await;
    let scope = gateway["deviceScope"].clone();
    assert_eq!(gateway["parentScopes"], json!([]));

    let leaf = put("/devices/leaf", &json!({"deviceScope": scope}))
        .json()
        .await;
    assert_eq!(leaf["deviceScope"], scope);
    assert_eq!(leaf["parentScopes"], json!([scope]));
    let twin = ask(&hub, Method::GET, "/twins/leaf").json().await;
    assert_eq!(
        (&twin["deviceScope"], &twin["parentScopes"]),
        (&scope, &json!([scope]))
    );
    let again = put("/devices/leaf", &leaf).if_match("*").json().await;
    assert_eq!(again["deviceScope"], scope);
    for blank in [
        json!({"deviceScope": ""}),
        json!({"parentScopes": [scope]}),
        json!({}),
    ] {
        let alone = put("/devices/leaf", &blank).if_match("*").json().await;
        assert_eq!(alone.get("deviceScope"), None, "{blank}");
    }
}

#[tokio::test]
async fn an_edge_device_keeps_its_own_scope_below_a_parent_and_scopes_outside_their_form_are_refused()
 {
    let hub = TestHub::new().await;
    let edge = json!({"capabilities": {"iotEdge": true}, "deviceScope": ""});
    let put = |path: &str, body: &Value| ask(&hub, Method::PUT, path).body(body);
    let gateway = put("/devices/gw", &edge).json().await;
    let scope = gateway["deviceScope"].clone();
    put("/devices/leaf", &json!({})).json().await;

    let child = json!({"capabilities": {"iotEdge": true}, "parentScopes": [scope]});
    let child = put("/devices/child", &child).json().await;
    assert_eq!(child["parentScopes"], json!([scope]));
    assert_ne!(child["deviceScope"], scope);
    let detached = put("/devices/child", &edge_of(&child, &child["deviceScope"]));
    let detached = detached.if_match("*").json().await;
    assert_eq!(detached["parentScopes"], json!([]));
    for wrong in [
        json!(""),
        scope.clone(),
        json!("ms-azure-iot-edge://child-1"),
    ] {
        let put = put("/devices/child", &edge_of(&child, &wrong)).if_match("*");
        assert_eq!(
            put.code().await,
            refused(400, "InvalidDeviceScope"),
            "{wrong}"
        );
    }
    for body in [
        json!({"deviceScope": "gw"}),
        json!({"deviceScope": "ms-azure-iot-edge://gw"}),
    ] {
        let put = put("/devices/leaf", &body).if_match("*");
        assert_eq!(
            put.code().await,
            refused(400, "InvalidDeviceScope"),
            "{body}"
        );
    }
    for body in [
        json!({"deviceScope": 7}),
        json!({"parentScopes": "gw"}),
        json!({"parentScopes": [7]}),
        json!({"parentScopes": vec![scope.clone(); 65]}),
    ] {
        let put = put("/devices/leaf", &body).if_match("*");
        assert_eq!(put.code().await, refused(400, "ArgumentInvalid"), "{body}");
    }
}

/// The Edge device with the same keys, another scope and no parents.
fn edge_of(device: &Value, scope: &Value) -> Value {
    json!({
        "capabilities": {"iotEdge": true},
        "authentication": device["authentication"],
        "deviceScope": scope,
    })
}
