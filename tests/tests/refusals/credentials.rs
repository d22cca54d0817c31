//! Credentials of back-ends that hold for nothing, at every operation of every door.

use downlink_tests::wire::amqp::{receiver, sender};
use tonic::Code;

use super::audit;
use super::hub::{HOST, Hub, Key, code};
use super::operations::{Call, OVER_HTTPS};

/// What is shown and is none.
async fn bad_credentials(hub: &Hub) -> Vec<(&'static str, String)> {
    let owner = hub.policy("iothubowner");
    let with_key = |bytes: Vec<u8>| Key {
        bytes,
        ..owner.clone()
    };
    let named = |policy: &str| Key {
        policy: Some(policy.to_owned()),
        ..owner.clone()
    };
    let keys = serde_json::json!({"type": "sas"});
    let device = hub.register("of-a-device", &keys).await.unwrap();
    let good = owner.for_hub();
    let mut all = vec![
        ("nothing", String::new()),
        ("a word", "secret".to_owned()),
        ("a scheme of others", "Basic b3duZXI6c2VjcmV0".to_owned()),
        ("a prefix alone", "SharedAccessSignature ".to_owned()),
        ("another key", with_key(vec![7; 32]).for_hub()),
        ("no such policy", named("nobody").for_hub()),
        ("the key of another policy", named("service").for_hub()),
        ("an expired token", owner.token(HOST, -301)),
        (
            "a token of another hub",
            owner.token("other.refusals.test", 600),
        ),
        (
            "a host that begins like ours",
            owner.token(&format!("{HOST}.evil.test"), 600),
        ),
        ("the token of a device", device.for_device("of-a-device")),
        ("a device's key for the hub", device.for_hub()),
        ("a longer life", good.replace("&se=", "&se=9")),
        (
            "another policy's name",
            good.replace("skn=iothubowner", "skn=service"),
        ),
        ("two scopes", good.replacen("sr=", "sr=x&sr=", 1)),
        ("a signature less", good.replacen("sig=", "gis=", 1)),
        (
            "a token that is too long",
            format!("{good}&x={}", "y".repeat(8 * 1024)),
        ),
    ];
    all.extend(hub.issuer.bad_tokens());
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_does_not_hold_opens_no_operation_of_a_back_end() {
    let hub = Hub::start().await;
    let all = bad_credentials(&hub).await;
    let refused = |door: &str| {
        let name = "downlink_gateway_credentials_refused";
        hub.counter(name, &[&format!("door=\"{door}\"")])
    };
    let before = ["https", "grpc", "amqp"].map(refused);
    for (what, credential) in &all {
        over_https(&hub, what, credential).await;
        let channel = hub.grpc();
        for call in Call::ALL {
            let told = call.make(&channel, credential).await;
            assert_eq!(told, Code::Unauthenticated, "{what}: {call:?}");
        }
        over_amqp(&hub, what, credential).await;
    }
    let after = ["https", "grpc", "amqp"].map(refused);
    let count = f64::from(u16::try_from(all.len()).unwrap());
    let (requests, calls) = (OVER_HTTPS.len(), Call::ALL.len());
    assert!(after[0] - before[0] >= count * f64::from(u8::try_from(requests).unwrap()));
    assert!(after[1] - before[1] >= count * f64::from(u8::try_from(calls).unwrap()));
    assert!(after[2] - before[2] >= count - 2.0);
    let secrets: Vec<String> = all.into_iter().map(|(_, credential)| credential).collect();
    let causes = [
        "malformed",
        "signature",
        "unknown_policy",
        "expired",
        "other_hub",
        "issuer",
        "audience",
        "bearer_key",
        "not_yet_valid",
    ];
    audit::check(hub, &causes, &secrets).await;
}

async fn over_https(hub: &Hub, what: &str, credential: &str) {
    for op in OVER_HTTPS {
        let answer = hub.ask(op.method, op.path, credential, op.body).await;
        let told = (answer.status, code(&answer));
        assert_eq!(told, (401, "IotHubUnauthorized"), "{what}: {op:?}");
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert!(
            credential.is_empty() || !text.contains(credential),
            "{text}"
        );
        if credential.starts_with("Bearer") {
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            assert!(challenge.starts_with("Bearer"), "{what}: {}", answer.head);
        }
    }
}

async fn over_amqp(hub: &Hub, what: &str, credential: &str) {
    for link in [
        sender(7, "/messages/devicebound"),
        receiver(8, "/messages/serviceBound/feedback"),
    ] {
        let mut amqp = hub.amqp_with_tokens().await;
        // A client that shows nothing puts no token.
        if !credential.is_empty() {
            let status = match amqp.offer_token(credential).await {
                // A stranger's frame has its bound too.
                Err(_) if credential.len() > 8 * 1024 => return,
                answered => answered.unwrap(),
            };
            let is_of_device = what == "the token of a device";
            assert_eq!(status == 200, is_of_device, "{what}: {status}");
        }
        let told = amqp.ask_for(0, link).await.unwrap();
        assert_eq!(told.as_deref(), Some("amqp:unauthorized-access"), "{what}");
    }
}
