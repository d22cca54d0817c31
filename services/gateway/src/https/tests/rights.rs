//! Limited policies and bearer tokens over HTTPS (auth.md §6).

use downlink_domain::policy::Permission::{RegistryWrite, ServiceConnect};
use serde_json::json;

use super::*;
use crate::fakes::TestIssuer;

const DENIED: &str = "IotHubUnauthorizedAccess";

async fn as_policy(
    hub: &TestHub,
    policy: &str,
    (method, path, body): (Method, &str, &Value),
) -> (u16, String) {
    let uri = format!("{path}?{VERSION}");
    let asked = ask_with(hub, method, &uri, &hub.policy_token(policy));
    asked.body(body).code().await
}

#[tokio::test]
async fn a_limited_policy_reaches_its_devices_by_its_verbs_and_methods() {
    let answer = MethodAnswer {
        status: 200,
        payload: Bytes::from_static(b"{}"),
    };
    let (hub, router) = hub_answering(Ok(answer)).await;
    for id in ["truck-1", "car-1"] {
        hub.device(id).await;
    }
    let scope = json!({
        "devices": [{"prefix": "truck-"}],
        "verbs": ["readTwin", "invoke"],
        "methods": ["reboot"],
    });
    hub.limited_policy("fleet", &[ServiceConnect, RegistryWrite], &scope)
        .await;
    let (none, patch) = (json!({}), json!({"tags": {"a": 1}}));
    let call = |name: &str| json!({"methodName": name});
    let (reboot, format) = (call("reboot"), call("format"));
    for (asked, status) in [
        ((Method::GET, "/twins/truck-1", &none), 200),
        ((Method::GET, "/twins/car-1", &none), 401),
        ((Method::GET, "/twins/truck-nobody", &none), 404),
        ((Method::PATCH, "/twins/truck-1", &patch), 401),
        ((Method::POST, "/twins/truck-1/methods", &reboot), 200),
        ((Method::POST, "/twins/truck-1/methods", &format), 401),
        ((Method::POST, "/twins/car-1/methods", &reboot), 401),
        ((Method::GET, "/devices", &none), 401),
        ((Method::GET, "/devices/truck-1", &none), 401),
        ((Method::DELETE, "/devices/truck-1", &none), 401),
        ((Method::DELETE, "/devices/truck-1/commands", &none), 401),
        ((Method::GET, "/statistics/service", &none), 401),
        ((Method::GET, "/messages/serviceBound/feedback", &none), 401),
    ] {
        let what = format!("{} {} {}", asked.0, asked.1, asked.2);
        let (got, code) = as_policy(&hub, "fleet", asked).await;
        assert_eq!(got, status, "{what}");
        assert_eq!(code == DENIED, status == 401, "{what}: {code}");
    }
    let called: Vec<_> = router
        .calls
        .lock()
        .iter()
        .map(|call| call.name.clone())
        .collect();
    assert_eq!(called.len(), 1);
}

#[tokio::test]
async fn what_depends_on_tags_that_cannot_be_read_is_503() {
    let hub = TestHub::new().await;
    let scope = json!({"devices": [{"tag": "a", "equals": 1}]});
    hub.limited_policy("tagged", &[ServiceConnect], &scope)
        .await;
    hub.backend.set_down(true);
    let none = json!({});
    let told = as_policy(&hub, "tagged", (Method::GET, "/twins/dev-1", &none)).await;
    assert_eq!(told, refused(503, "ServiceUnavailable"));
}

#[tokio::test]
async fn a_bearer_opens_what_its_claims_allow_and_403_tells_of_the_rest() {
    let issuer = TestIssuer::new();
    let hub = issuer.hub().await;
    hub.device("dev-1").await;
    for (role, method, path, expected) in [
        ("all", Method::GET, "/devices/dev-1", 200),
        ("all", Method::GET, "/twins/dev-1", 200),
        ("read-twins", Method::GET, "/twins/dev-1", 200),
        ("read-twins", Method::PATCH, "/twins/dev-1", 403),
        ("read-twins", Method::GET, "/devices", 403),
        ("send", Method::GET, "/twins/dev-1", 403),
        ("none", Method::GET, "/statistics/service", 403),
    ] {
        let uri = format!("{path}?{VERSION}");
        let asked = ask_with(&hub, method, &uri, &issuer.bearer(&hub, role));
        let reply = asked.body(&json!({})).send().await;
        assert_eq!(reply.status.as_u16(), expected, "{role} {path}");
        assert_eq!(reply.header("www-authenticate"), None);
        if expected == 403 {
            assert_eq!(reply.header("iothub-errorcode"), Some("GenericForbidden"));
        }
    }
}

#[tokio::test]
async fn a_bearer_that_does_not_hold_is_401_with_a_challenge() {
    let issuer = TestIssuer::new();
    let hub = issuer.hub().await;
    let stranger = TestIssuer::new();
    let late = issuer.bearer_for(&hub, "all", std::time::Duration::from_mins(1));
    hub.clock.advance(std::time::Duration::from_mins(7));
    for credential in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer a.b.c".to_owned(),
        stranger.bearer(&hub, "all"),
        late,
    ] {
        let uri = format!("/devices?{VERSION}");
        let reply = ask_with(&hub, Method::GET, &uri, &credential).send().await;
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{credential}");
        assert_eq!(reply.header("www-authenticate"), Some("Bearer"));
        assert_eq!(reply.header("iothub-errorcode"), Some("IotHubUnauthorized"));
    }
}
