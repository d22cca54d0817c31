//! Credentials of back-ends that hold, for other things than what is asked.

use downlink_tests::wire::amqp::{receiver, sender};
use serde_json::{Value, json};
use tonic::Code;

use super::audit;
use super::hub::{HOST, Hub, code};
use super::operations::{Call, OVER_HTTPS, Right};
use Right::{Administer, RegistryRead, RegistryWrite, ServiceConnect};

/// The policies of a new hub and what they allow (auth.md §4).
const POLICIES: [(&str, &[Right]); 5] = [
    (
        "iothubowner",
        &[RegistryRead, RegistryWrite, ServiceConnect, Administer],
    ),
    ("service", &[ServiceConnect]),
    ("device", &[]),
    ("registryRead", &[RegistryRead]),
    ("registryReadWrite", &[RegistryRead, RegistryWrite]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_opens_what_its_permissions_name_and_nothing_else() {
    let hub = Hub::start().await;
    let channel = hub.grpc();
    for (policy, granted) in POLICIES {
        let token = hub.policy(policy).for_hub();
        let may = |needed: &[Right]| needed.iter().any(|right| granted.contains(right));
        for op in OVER_HTTPS {
            let answer = hub.ask(op.method, op.path, &token, op.body).await;
            if may(op.rights) {
                assert_ne!(answer.status, 401, "{policy}: {op:?}");
            } else {
                let told = (answer.status, code(&answer));
                assert_eq!(told, (401, "IotHubUnauthorizedAccess"), "{policy}: {op:?}");
            }
        }
        for call in Call::ALL {
            if may(call.rights()) {
                // Streams that end at once, and others that wait for news.
                continue;
            }
            let told = call.make(&channel, &token).await;
            assert_eq!(told, Code::PermissionDenied, "{policy}: {call:?}");
        }
        let expected = (!may(&[ServiceConnect])).then_some("amqp:unauthorized-access");
        assert_eq!(links(&hub, &token).await, [expected, expected], "{policy}");
    }
    let causes = ["right"];
    audit::check(hub, &causes, &[]).await;
}

/// What the hub says to the links of a back-end.
async fn links(hub: &Hub, token: &str) -> [Option<&'static str>; 2] {
    let mut told = [None, None];
    let links = [
        sender(7, "/messages/devicebound"),
        receiver(8, "/messages/serviceBound/feedback"),
    ];
    for (link, told) in links.into_iter().zip(&mut told) {
        let mut amqp = hub.amqp_with_tokens().await;
        assert_eq!(amqp.offer_token(token).await.unwrap(), 200);
        let condition = amqp.ask_for(0, link).await.unwrap();
        *told = condition.map(|condition| match condition.as_str() {
            "amqp:unauthorized-access" => "amqp:unauthorized-access",
            other => panic!("refused with {other}"),
        });
    }
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bearer_token_opens_what_its_roles_name_and_nothing_else() {
    let hub = Hub::start().await;
    let channel = hub.grpc();
    let roles: [(&str, &[&str]); 4] = [
        (
            "IoT Hub Data Contributor",
            &["/devices", "/twins", "/statistics", "/messages"],
        ),
        ("IoT Hub Registry Contributor", &["/devices"]),
        ("IoT Hub Twin Contributor", &["/twins"]),
        ("Nobody", &[]),
    ];
    for (role, opened) in roles {
        let token = hub.issuer.token(role);
        for op in OVER_HTTPS {
            let is_action = op.path.ends_with("/methods") || op.path.ends_with("/commands");
            let is_opened = opened.iter().any(|prefix| op.path.starts_with(prefix));
            let is_opened = is_opened && (!is_action || role.ends_with("Data Contributor"));
            let answer = hub.ask(op.method, op.path, &token, op.body).await;
            if is_opened {
                assert!(
                    ![401, 403].contains(&answer.status),
                    "{role}: {op:?} {answer:?}"
                );
            } else {
                let told = (answer.status, code(&answer));
                assert_eq!(told, (403, "GenericForbidden"), "{role}: {op:?}");
            }
        }
        if opened.is_empty() {
            for call in Call::ALL {
                let told = call.make(&channel, &token).await;
                assert_eq!(told, Code::PermissionDenied, "{role}: {call:?}");
            }
            let refused = Some("amqp:unauthorized-access");
            assert_eq!(links(&hub, &token).await, [refused, refused]);
        }
    }
    hub.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_opens_nothing_outside_its_scope() {
    let hub = Hub::start().await;
    // An id may look like what old generators of tokens append to it.
    for id in ["dev10", "api-version=1"] {
        hub.register(id, &json!({"type": "sas"})).await;
    }
    let owner = hub.policy("iothubowner");
    let of_device = owner.token(&format!("{HOST}/devices/dev"), 600);
    let of_odd_id = owner.token(&format!("{HOST}/devices/api-version=1"), 600);
    let of_twin = owner.token(&format!("{HOST}/twins/dev"), 600);
    for (token, path, is_open) in [
        (&of_device, "/devices/dev", true),
        (&of_device, "/devices/dev10", false),
        (&of_device, "/devices", false),
        (&of_device, "/twins/dev", false),
        (&of_device, "/admin/policies", false),
        (&of_odd_id, "/devices/api-version=1", true),
        (&of_odd_id, "/devices", false),
        (&of_odd_id, "/devices/dev", false),
        (&of_twin, "/twins/dev", true),
        (&of_twin, "/twins/dev10", false),
        (&of_twin, "/devices/dev", false),
    ] {
        let answer = hub.ask("GET", path, token, "").await;
        if is_open {
            assert_eq!(answer.status, 200, "{path}");
        } else {
            let told = (answer.status, code(&answer));
            assert_eq!(told, (401, "IotHubUnauthorizedAccess"), "{path}");
        }
    }
    let refused = Some("amqp:unauthorized-access");
    assert_eq!(links(&hub, &of_device).await, [refused, refused]);
    hub.stop();
}

#[expect(clippy::too_many_lines, reason = "a table, one line a case")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limited_policy_opens_its_devices_verbs_and_methods_and_nothing_else() {
    let hub = Hub::start().await;
    for device in ["truck-1", "tagged"] {
        hub.register(device, &json!({"type": "sas"})).await;
    }
    let tags = json!({"tags": {"site": {"city": "Oslo"}}});
    hub.manage("PATCH", "/twins/tagged", &tags).await;
    let devices = json!({"devices": [
        {"id": "dev"}, {"prefix": "truck-"}, {"tag": "site.city", "equals": "Oslo"}
    ]});
    let rights = ["RegistryRead", "RegistryReadWrite", "ServiceConnect"];
    let by_device = hub.add_policy("by-device", &rights, &devices).await;
    let read = json!({"verbs": ["readTwin"]});
    let readers = hub.add_policy("readers", &rights, &read).await;
    let callers = json!({"verbs": ["invoke"], "methods": ["reboot"]});
    let callers = hub.add_policy("callers", &rights, &callers).await;
    hub.register("other", &json!({"type": "sas"})).await;
    let invoke = |name: &str| json!({"methodName": name}).to_string();
    let (reboot, wipe) = (invoke("reboot"), invoke("wipe"));
    let cases = [
        (&by_device, "GET", "/twins/dev", "", true),
        (&by_device, "GET", "/twins/truck-1", "", true),
        (&by_device, "GET", "/twins/tagged", "", true),
        (&by_device, "PATCH", "/twins/tagged", "{}", true),
        (&by_device, "GET", "/twins/other", "", false),
        (&by_device, "PATCH", "/twins/other", "{}", false),
        (&by_device, "POST", "/twins/other/methods", &reboot, false),
        (&by_device, "DELETE", "/devices/other", "", false),
        (&by_device, "DELETE", "/devices/other/commands", "", false),
        (&by_device, "GET", "/devices", "", false),
        (&by_device, "GET", "/statistics/devices", "", false),
        (
            &by_device,
            "GET",
            "/messages/serviceBound/feedback",
            "",
            false,
        ),
        (&by_device, "GET", "/admin/policies", "", false),
        (&readers, "GET", "/twins/dev", "", true),
        (&readers, "PATCH", "/twins/dev", "{}", false),
        (&readers, "GET", "/devices/dev", "", false),
        (&readers, "POST", "/twins/dev/methods", &reboot, false),
        (&callers, "POST", "/twins/dev/methods", &reboot, true),
        (&callers, "POST", "/twins/dev/methods", &wipe, false),
        (&callers, "GET", "/twins/dev", "", false),
    ];
    for (key, method, path, body, is_open) in cases {
        let answer = hub.ask(method, path, &key.for_hub(), body).await;
        let told = (answer.status, code(&answer));
        if is_open {
            assert_ne!(answer.status, 401, "{method} {path}");
        } else {
            assert_eq!(
                told,
                (401, "IotHubUnauthorizedAccess"),
                "{key:?} {method} {path}"
            );
        }
    }
    // Whatever is sent to other devices is refused message by message; feedback as a whole.
    let token = by_device.for_hub();
    let told = links(&hub, &token).await;
    assert_eq!(told, [None, Some("amqp:unauthorized-access")]);
    let channel = hub.grpc();
    let told = Call::List.make(&channel, &token).await;
    assert_eq!(told, Code::PermissionDenied);
    // Nobody makes their own limits wider.
    let wider = json!({"permissions": rights}).to_string();
    let path = "/admin/policies/by-device";
    let answer = hub.ask("PUT", path, &token, &wider).await;
    assert_eq!(code(&answer), "IotHubUnauthorizedAccess");
    assert_eq!(
        hub.manage("GET", path, &Value::Null).await["scope"],
        devices
    );
    hub.stop();
}
