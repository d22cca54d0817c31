//! registry.md §0, errors-limits.md §1, auth.md §4.

use downlink_auth::sign;
use downlink_ports::Clock;
use serde_json::json;

use super::*;

/// One call of every endpoint and who may make it, besides `iothubowner`.
const ENDPOINTS: [(Method, &str, &[&str]); 13] = [
    (
        Method::GET,
        "/devices",
        &["registryRead", "registryReadWrite"],
    ),
    (
        Method::GET,
        "/devices/dev-1",
        &["registryRead", "registryReadWrite"],
    ),
    (Method::PUT, "/devices/dev-2", &["registryReadWrite"]),
    (Method::DELETE, "/devices/dev-3", &["registryReadWrite"]),
    (
        Method::GET,
        "/statistics/devices",
        &["registryRead", "registryReadWrite"],
    ),
    (
        Method::GET,
        "/statistics/service",
        &["service", "registryRead", "registryReadWrite"],
    ),
    (Method::GET, "/twins/dev-1", &["service"]),
    (Method::PATCH, "/twins/dev-1", &["service"]),
    (Method::PUT, "/twins/dev-1", &["service"]),
    (Method::POST, "/twins/dev-1/methods", &["service"]),
    (Method::DELETE, "/devices/dev-1/commands", &["service"]),
    (Method::GET, "/messages/serviceBound/feedback", &["service"]),
    (
        Method::DELETE,
        "/messages/serviceBound/feedback/1ae003e4-61fb-4bc1-9210-1e1635350796",
        &["service"],
    ),
];

#[tokio::test]
async fn each_policy_opens_exactly_its_endpoints() {
    for (method, path, allowed) in ENDPOINTS {
        let hub = TestHub::new().await;
        hub.device("dev-1").await;
        hub.device("dev-3").await;
        for policy in [
            "iothubowner",
            "service",
            "device",
            "registryRead",
            "registryReadWrite",
        ] {
            let uri = format!("{path}?{VERSION}");
            let asked = ask_with(&hub, method.clone(), &uri, &hub.policy_token(policy));
            let (status, code) = asked.body(&json!({"methodName": "m"})).code().await;
            let may = policy == "iothubowner" || allowed.contains(&policy);
            if may {
                assert_ne!(status, 401, "{policy} {method} {path}");
            } else {
                let expected = refused(401, "IotHubUnauthorizedAccess");
                assert_eq!((status, code), expected, "{policy} {method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn a_credential_that_does_not_hold_is_unauthorized() {
    let hub = TestHub::new().await;
    let device = hub.device("dev-1").await;
    let later = hub.clock.now().as_seconds() + 60;
    let uri = format!("/devices/dev-1?{VERSION}");
    for token in [
        String::new(),
        "Bearer abc".to_owned(),
        "SharedAccessSignature".to_owned(),
        sign("hub.test", &[9; 32], later, Some("iothubowner")),
        sign("hub.test", &[1; 32], later, Some("nobody")),
        sign("hub.test", &[1; 32], later - 3600, Some("iothubowner")),
        sign("other.test", &[1; 32], later, Some("iothubowner")),
        hub.device_token(&device),
    ] {
        let asked = ask_with(&hub, Method::GET, &uri, &token);
        assert_eq!(
            asked.code().await,
            refused(401, "IotHubUnauthorized"),
            "{token}"
        );
    }
    let request = Request::builder().uri(&uri).body(Body::empty()).unwrap();
    let bare = router(Arc::clone(&hub.shared))
        .oneshot(request)
        .await
        .unwrap();
    assert_eq!(bare.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_token_opens_its_scope_alone() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    hub.device("dev-10").await;
    let later = hub.clock.now().as_seconds() + 60;
    let token = sign(
        "hub.test/devices/dev-1",
        &[1; 32],
        later,
        Some("iothubowner"),
    );
    let get = |path: &str| ask_with(&hub, Method::GET, &format!("{path}?{VERSION}"), &token);
    get("/devices/dev-1").json().await;
    for path in ["/devices/dev-10", "/devices", "/twins/dev-1"] {
        let code = get(path).code().await;
        assert_eq!(code, refused(401, "IotHubUnauthorizedAccess"), "{path}");
    }
}

#[tokio::test]
async fn a_version_is_required() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let token = hub.policy_token("iothubowner");
    for uri in [
        "/devices/dev-1",
        "/devices/dev-1?api-version=1999-01-01",
        "/devices/dev-1?api-version=",
    ] {
        let asked = ask_with(&hub, Method::GET, uri, &token);
        assert_eq!(
            asked.code().await,
            refused(400, "InvalidProtocolVersion"),
            "{uri}"
        );
    }
    for version in [
        "2021-04-12",
        "2024-03-31",
        "2018-06-30",
        "2020-05-31-preview",
        "2020-09-30",
    ] {
        let uri = format!("/devices/dev-1?api-version={version}");
        ask_with(&hub, Method::GET, &uri, &token).json().await;
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id_of_its_own() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let mut seen = std::collections::HashSet::new();
    for path in [
        "/devices/dev-1",
        "/devices/nobody",
        "/nothing",
        "/statistics/devices",
    ] {
        let reply = ask(&hub, Method::GET, path).send().await;
        let id = reply.header("x-ms-request-id").unwrap().to_owned();
        assert_eq!(id.len(), 36);
        assert!(seen.insert(id));
    }
}

#[tokio::test]
async fn a_failure_has_the_classic_shape() {
    let hub = TestHub::new().await;
    let reply = ask(&hub, Method::GET, "/devices/nobody").send().await;
    assert_eq!(reply.status, StatusCode::NOT_FOUND);
    assert_eq!(reply.header("iothub-errorcode"), Some("DeviceNotFound"));
    assert_eq!(
        reply.header("content-type"),
        Some("application/json; charset=utf-8")
    );
    let body = reply.json();
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert_eq!(members, ["Message", "ExceptionMessage"]);
    assert_eq!(
        body["Message"],
        "ErrorCode:DeviceNotFound;device nobody is not registered"
    );
    let tracking = body["ExceptionMessage"].as_str().unwrap();
    let (id, rest) = tracking
        .strip_prefix("Tracking ID:")
        .unwrap()
        .split_once("-G:")
        .unwrap();
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()));
    assert!(rest.ends_with("-TimeStamp:01/05/2026 12:00:00"), "{rest}");
}

#[tokio::test]
async fn what_the_hub_does_not_offer_is_refused_by_name() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let not_offered = refused(403, "OperationNotAvailableInCurrentTier");
    for (method, path) in [
        (Method::POST, "/devices/dev-1/applyConfigurationContent"),
        (Method::POST, "/jobs/create"),
        (Method::GET, "/configurations"),
        (Method::GET, "/messages/serviceBound/filenotifications"),
    ] {
        assert_eq!(ask(&hub, method, path).code().await, not_offered, "{path}");
    }
    assert_eq!(
        ask(&hub, Method::POST, "/devices/dev-1/files").code().await,
        refused(400, "DefaultStorageEndpointNotConfigured")
    );
    for (method, path) in [
        (Method::GET, "/devices/dev-1/modules/m1"),
        (Method::DELETE, "/devices/dev-1/modules/m1"),
    ] {
        assert_eq!(
            ask(&hub, method, path).code().await,
            refused(404, "ModuleNotFound")
        );
    }
}

#[tokio::test]
async fn a_wrong_method_is_told_what_the_path_takes() {
    let hub = TestHub::new().await;
    let reply = ask(&hub, Method::POST, "/twins/dev-1").send().await;
    assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(
        reply.header("iothub-errorcode"),
        Some("GenericMethodNotAllowed")
    );
    assert_eq!(reply.header("allow"), Some("GET, PATCH, PUT"));
}

#[tokio::test]
async fn a_body_above_the_limit_is_refused() {
    let hub = TestHub::with(|options| options.https.max_body_bytes = 100).await;
    hub.device("dev-1").await;
    let body = json!({"tags": {"a": "x".repeat(100)}});
    let announced = ask(&hub, Method::PATCH, "/twins/dev-1").body(&body);
    assert_eq!(announced.code().await, refused(413, "MessageTooLarge"));
    let parts = (0..20).map(|_| Ok::<_, std::io::Error>(Bytes::from_static(b"0123456789")));
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(format!("/twins/dev-1?{VERSION}"))
        .header(AUTHORIZATION, hub.policy_token("service"))
        .body(Body::from_stream(futures::stream::iter(parts)))
        .unwrap();
    let chunked = router(Arc::clone(&hub.shared))
        .oneshot(request)
        .await
        .unwrap();
    assert_eq!(chunked.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_given_up() {
    let hub = TestHub::new().await;
    let never = futures::stream::pending::<Result<Bytes, std::io::Error>>();
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(format!("/twins/dev-1?{VERSION}"))
        .header(AUTHORIZATION, hub.policy_token("service"))
        .body(Body::from_stream(never))
        .unwrap();
    let slow = router(Arc::clone(&hub.shared))
        .oneshot(request)
        .await
        .unwrap();
    assert_eq!(slow.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_body_of_a_stranger_is_not_read() {
    let hub = TestHub::new().await;
    let never = futures::stream::pending::<Result<Bytes, std::io::Error>>();
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(format!("/twins/dev-1?{VERSION}"))
        .body(Body::from_stream(never))
        .unwrap();
    let refused = router(Arc::clone(&hub.shared))
        .oneshot(request)
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_service_that_is_away_is_told_apart_from_a_refusal() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    ask(&hub, Method::GET, "/devices/dev-1").json().await;
    hub.backend.set_down(true);
    for path in ["/devices/dev-1", "/twins/dev-1", "/statistics/devices"] {
        let reply = ask(&hub, Method::GET, path).send().await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(reply.header("iothub-errorcode"), Some("ServiceUnavailable"));
        assert!(reply.header("retry-after").is_some());
    }
}

#[tokio::test]
async fn json_that_nests_too_deep_is_refused_before_it_is_built() {
    let hub = TestHub::new().await;
    hub.device("dev-1").await;
    let deep = "[".repeat(200_000);
    let body = format!("{{\"tags\":{deep}");
    for (method, path) in [
        (Method::PATCH, "/twins/dev-1"),
        (Method::PUT, "/devices/dev-9"),
    ] {
        let asked = ask(&hub, method, path).text(&body);
        assert_eq!(asked.code().await, refused(400, "IotHubFormatError"));
    }
    let body = format!("{{\"methodName\":\"m\",\"payload\":{deep}}}");
    let asked = ask(&hub, Method::POST, "/twins/dev-1/methods").text(&body);
    assert_eq!(asked.code().await, refused(400, "IotHubFormatError"));
}
