//! Credentials of devices without the right, at every door that devices have.

use std::collections::BTreeMap;

use downlink_tests::wire::amqp::{receiver, sender};
use serde_json::json;

use super::audit;
use super::certificates::{Authority, Leaf};
use super::hub::{HOST, Hub, Key, by_thumbprint, code};

/// Someone who claims to be a device.
struct Claim {
    what: &'static str,
    device: &'static str,
    /// What stands where a token stands.
    token: Option<String>,
    certificate: Option<Leaf>,
    /// Whether the hub should tell that the device is disabled.
    is_disabled: bool,
}

impl Claim {
    fn by_token(what: &'static str, device: &'static str, token: String) -> Self {
        Self {
            what,
            device,
            token: Some(token),
            certificate: None,
            is_disabled: false,
        }
    }

    fn by_certificate(what: &'static str, device: &'static str, certificate: Leaf) -> Self {
        Self {
            what,
            device,
            token: None,
            certificate: Some(certificate),
            is_disabled: false,
        }
    }
}

/// Registers devices of every kind; the keys of those that have one.
async fn register(hub: &Hub, known: &Leaf) -> BTreeMap<&'static str, Key> {
    let sas = json!({"type": "sas"});
    let mut keys = BTreeMap::new();
    for id in ["sas", "neighbour", "off"] {
        keys.insert(id, hub.register(id, &sas).await.unwrap());
    }
    hub.register("printed", &by_thumbprint(known)).await;
    hub.register("signed", &json!({"type": "certificateAuthority"}))
        .await;
    let off = json!({
        "deviceId": "off",
        "status": "disabled",
        "authentication": {"type": "sas", "symmetricKey": {
            "primaryKey": encode(&keys["off"].bytes), "secondaryKey": encode(&[9; 32]),
        }},
    });
    let token = hub.policy("iothubowner").for_hub();
    // No If-Match creates; a star replaces, and is no header that `ask` sends.
    let gone = hub.ask("DELETE", "/devices/off", &token, "").await;
    assert_eq!(gone.status, 412);
    keys.insert(
        "unmade",
        Key {
            bytes: vec![1; 32],
            policy: None,
        },
    );
    hub.manage("PUT", "/devices/switched-off", &{
        let mut body = off.clone();
        body["deviceId"] = "switched-off".into();
        body
    })
    .await;
    keys
}

fn encode(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[expect(clippy::too_many_lines, reason = "a table, one line a claim")]
async fn claims(hub: &Hub, known: Leaf) -> Vec<Claim> {
    let keys = register(hub, &known).await;
    hub.trust_authority().await;
    let unproved = hub.add_unproved("unproved").await;
    let stranger = Authority::new("plant authority");
    let (sas, neighbour) = (&keys["sas"], &keys["neighbour"]);
    let near = json!({"devices": [{"prefix": "neigh"}]});
    let near = hub.add_policy("near", &["DeviceConnect"], &near).await;
    let module = format!("{HOST}/devices/sas/modules/m");
    let token = Claim::by_token;
    let certificate = Claim::by_certificate;
    let mut all = vec![
        Claim {
            token: None,
            ..token("nothing", "sas", String::new())
        },
        token("a word", "sas", "secret".to_owned()),
        token("another key", "sas", keys["unmade"].for_device("sas")),
        token(
            "a neighbour's token",
            "sas",
            neighbour.for_device("neighbour"),
        ),
        token("a neighbour's key", "sas", neighbour.for_device("sas")),
        token("a longer name's scope", "sas", sas.for_device("sas10")),
        token("a module's scope", "sas", sas.token(&module, 600)),
        token(
            "an expired token",
            "sas",
            sas.token(&format!("{HOST}/devices/sas"), -301),
        ),
        token(
            "another hub",
            "sas",
            sas.token("other.refusals.test/devices/sas", 600),
        ),
        token(
            "a policy without the permission",
            "sas",
            hub.policy("service").for_hub(),
        ),
        token("a policy of other devices", "sas", near.for_hub()),
        token(
            "a bearer token",
            "sas",
            hub.issuer.token("IoT Hub Data Contributor"),
        ),
        token("nobody's token", "nobody", sas.for_device("nobody")),
        token(
            "a token for a certificate",
            "printed",
            sas.for_device("printed"),
        ),
        token(
            "a policy's token for a certificate",
            "printed",
            hub.policy("iothubowner").for_hub(),
        ),
        token(
            "a token for an authority's device",
            "signed",
            sas.for_device("signed"),
        ),
        certificate("a certificate for a token", "sas", known),
        certificate(
            "another thumbprint",
            "printed",
            Leaf::self_signed("printed"),
        ),
        certificate("its own authority", "signed", Leaf::self_signed("signed")),
        certificate(
            "an authority of the same name",
            "signed",
            stranger.issue("signed"),
        ),
        certificate("an unproved authority", "signed", unproved.issue("signed")),
        certificate(
            "a neighbour's certificate",
            "signed",
            hub.authority.issue("neighbour"),
        ),
        certificate(
            "a name in other letters",
            "signed",
            hub.authority.issue("Signed"),
        ),
        certificate(
            "an expired certificate",
            "signed",
            hub.authority.issue_expired("signed"),
        ),
        certificate(
            "nobody's certificate",
            "nobody",
            hub.authority.issue("nobody"),
        ),
    ];
    all.push(Claim {
        is_disabled: true,
        ..token(
            "a disabled device",
            "switched-off",
            keys["off"].for_device("switched-off"),
        )
    });
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_without_the_right_gets_through_no_door() {
    let hub = Hub::start().await;
    let known = Leaf::self_signed("printed");
    let claims = claims(&hub, known).await;
    for claim in &claims {
        over_https(&hub, claim).await;
        over_mqtt(&hub, claim).await;
        over_amqp(&hub, claim).await;
    }
    // Those with the right do: the matrix would hold for a hub that refuses everybody.
    let signed = hub.authority.issue("signed");
    let user = format!("{HOST}/signed/?api-version=2021-04-12");
    let told = hub
        .connect_mqtt(Some(&signed.identity), ("signed", &user), None)
        .await;
    assert_eq!(told, 0);
    let path = "/devices/signed/messages/deviceBound";
    let answer = hub
        .ask_as(Some(&signed.identity), "GET", path, "", "")
        .await;
    assert_eq!(answer.status, 204);
    let mut amqp = hub.amqp(Some(&signed.identity)).await;
    let told = amqp.ask_for(0, receiver(3, path)).await.unwrap();
    assert_eq!(told, None);
    let causes = [
        "no_credential",
        "signature",
        "scope",
        "expired",
        "other_hub",
        "unknown_identity",
        "token_for_certificate_identity",
        "thumbprint",
        "subject",
        "certificate_dates",
        "authority",
        "disabled",
    ];
    let secrets: Vec<String> = claims
        .iter()
        .filter_map(|claim| claim.token.clone())
        .collect();
    audit::check(hub, &causes, &secrets).await;
}

async fn over_https(hub: &Hub, claim: &Claim) {
    let identity = claim.certificate.as_ref().map(|leaf| &leaf.identity);
    let token = claim.token.as_deref().unwrap_or_default();
    let base = format!("/devices/{}/messages", claim.device);
    let message = "00000000-0000-0000-0000-000000000001-1";
    for (method, path) in [
        ("POST", format!("{base}/events")),
        ("GET", format!("{base}/deviceBound")),
        ("DELETE", format!("{base}/deviceBound/{message}")),
        ("DELETE", format!("{base}/deviceBound/{message}?reject")),
        ("POST", format!("{base}/deviceBound/{message}/abandon")),
    ] {
        let answer = hub.ask_as(identity, method, &path, token, "").await;
        let expected = if claim.is_disabled {
            (403, "DeviceDisabled")
        } else {
            (401, "IotHubUnauthorized")
        };
        let told = (answer.status, code(&answer));
        assert_eq!(told, expected, "{}: {method} {path}", claim.what);
    }
}

async fn over_mqtt(hub: &Hub, claim: &Claim) {
    let identity = claim.certificate.as_ref().map(|leaf| &leaf.identity);
    let user = format!("{HOST}/{}/?api-version=2021-04-12", claim.device);
    let password = claim.token.as_deref();
    let told = hub
        .connect_mqtt(identity, (claim.device, &user), password)
        .await;
    assert_eq!(told, 5, "{} over MQTT", claim.what);
}

async fn over_amqp(hub: &Hub, claim: &Claim) {
    let identity = claim.certificate.as_ref().map(|leaf| &leaf.identity);
    let base = format!("/devices/{}/messages", claim.device);
    for link in [
        sender(2, &format!("{base}/events")),
        receiver(3, &format!("{base}/deviceBound")),
    ] {
        let mut amqp = hub.amqp(identity).await;
        if let Some(token) = &claim.token {
            amqp.attach_tokens().await.unwrap();
            amqp.offer_token(token).await.unwrap();
        }
        let told = amqp.ask_for(0, link).await.unwrap();
        assert_eq!(
            told.as_deref(),
            Some("amqp:unauthorized-access"),
            "{} over AMQP",
            claim.what
        );
    }
}
