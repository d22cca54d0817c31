//! Two hubs in one process, on the same ports.

use downlink_runtime::dev_certificate;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use tempfile::TempDir;
use tonic::Code;

use crate::support::{Hub, PATIENCE};
use crate::wire::{Amqp, Mqtt, ask, get_over_grpc, key_of, new_device, primary_key, token};

const HOST: &str = "localhost";
const A: &str = "a.hub.test";
const B: &str = "b.hub.test";
const VERSION: &str = "api-version=2021-04-12";

/// Hub A, and hub B with a certificate of its own.
struct Two {
    hub: Hub,
    own: TempDir,
    _data: TempDir,
}

impl Two {
    fn start() -> Self {
        let (data, own) = (
            tempfile::tempdir().expect("as it was made here"),
            tempfile::tempdir().expect("as it was made here"),
        );
        let now = rustls_pki_types::UnixTime::now().as_secs();
        let now = i64::try_from(now).expect("as it was made here");
        let made =
            dev_certificate::ensure(own.path(), &[B.to_owned()], now).expect("as it was made here");
        let settings = [
            format!("hub.further.b.host_name={B}"),
            format!(
                "hub.further.b.certificate_file={}",
                made.certificate_file.display()
            ),
            format!("hub.further.b.key_file={}", made.key_file.display()),
        ];
        let mut more = vec!["--host", A];
        for setting in &settings {
            more.extend(["--set", setting]);
        }
        let hub = Hub::start(data.path(), &more);
        Self {
            hub,
            own,
            _data: data,
        }
    }

    /// Opens TLS to a door as to `host`, whose certificate must be that hub's.
    async fn tls(&self, door: &str, host: &'static str) -> crate::support::Stream {
        let ca = match host {
            B => self.own.path().join("ca.pem"),
            _ => self.hub.ca_file(),
        };
        let ca = CertificateDer::from_pem_file(ca).expect("as it was made here");
        self.hub.tls_as(door, host, ca).await
    }

    /// The key of a policy.
    fn key(&self, host: &str, policy: &str) -> Vec<u8> {
        let facts = match host {
            B => &self.hub.facts["furtherHubs"][0],
            _ => &self.hub.facts,
        };
        assert_eq!(facts["hostName"], host);
        key_of(
            facts["policies"][policy]
                .as_str()
                .expect("as it was made here"),
        )
    }

    fn owner(&self, host: &str) -> String {
        token(
            host,
            &self.key(host, "iothubowner"),
            Some("iothubowner"),
            true,
        )
    }

    async fn rest(
        &self,
        host: &'static str,
        method: &str,
        path: &str,
        body: &str,
    ) -> (u16, String) {
        let io = self.tls("https", host).await;
        ask(io, (method, path), (host, &self.owner(host)), body).await
    }

    /// Registers `dev-1` and connects it.
    async fn device(&self, host: &'static str) -> (Mqtt, Vec<u8>) {
        let path = format!("/devices/dev-1?{VERSION}");
        let (status, answer) = self.rest(host, "PUT", &path, &new_device("dev-1")).await;
        assert_eq!(status, 200, "{answer}");
        let key = primary_key(&answer);
        let (mut device, code) = self.connect(host, host, &key).await;
        assert_eq!(code, 0);
        device.subscribe("dev-1").await;
        (device, key)
    }

    /// Connects `dev-1` to `host` with a token for `scope`'s hub.
    async fn connect(&self, host: &'static str, scope: &str, key: &[u8]) -> (Mqtt, u8) {
        let token = token(&format!("{scope}/devices/dev-1"), key, None, true);
        Mqtt::connect(self.tls("mqtts", host).await, scope, "dev-1", &token).await
    }

    async fn back_end(&self, host: &'static str) -> Amqp {
        let mut back_end = Amqp::open(self.tls("amqps", host).await, host).await;
        assert_eq!(back_end.put_token(host, &self.owner(host)).await, 200);
        back_end
            .attach_commands()
            .await
            .expect("as it was made here");
        back_end
    }
}

fn ends_with(packet: &(u8, Vec<u8>), body: &[u8]) -> bool {
    packet.0 & 0xf0 == 0x30 && packet.1.ends_with(body)
}

#[tokio::test]
async fn devices_of_one_name_in_two_hubs_are_two_devices() {
    let two = Two::start();
    let (mut at_a, key_a) = two.device(A).await;
    let (mut at_b, key_b) = two.device(B).await;
    assert_ne!(key_a, key_b);
    // Neither took the other's place.
    at_a.ping().await;
    at_b.ping().await;
    let mut from_b = two.back_end(B).await;
    let mut from_a = two.back_end(A).await;
    from_b.send("dev-1", b"of b").await;
    from_a.send("dev-1", b"of a").await;
    // Each hears of its own hub first, and so of no other.
    let (heard_a, heard_b) = (at_a.next().await, at_b.next().await);
    assert!(ends_with(&heard_a, b"of a"), "{heard_a:?}");
    assert!(ends_with(&heard_b, b"of b"), "{heard_b:?}");

    let path = format!("/devices/dev-1?{VERSION}");
    let (status, answer) = two.rest(A, "DELETE", &path, "").await;
    assert_eq!(status, 204, "{answer}");
    at_a.closed().await;
    assert_eq!(two.rest(A, "GET", &path, "").await.0, 404);
    assert_eq!(two.rest(B, "GET", &path, "").await.0, 200);
    at_b.ping().await;
}

#[tokio::test]
async fn what_opens_one_hub_opens_no_other() {
    let two = Two::start();
    let (_at_a, key_a) = two.device(A).await;
    let (_at_b, key_b) = two.device(B).await;
    // Tokens of one hub, and of its keys in the other's name, brought to the other.
    let of_a = two.owner(A);
    let forged = token(B, &two.key(A, "iothubowner"), Some("iothubowner"), true);
    let misnamed = token(A, &two.key(B, "iothubowner"), Some("iothubowner"), true);
    for credential in [&of_a, &forged, &misnamed] {
        let io = two.tls("https", B).await;
        let path = format!("/devices/dev-1?{VERSION}");
        let (status, _) = ask(io, ("GET", &path), (B, credential), "").await;
        assert_eq!(status, 401, "{credential}");
        let code = get_over_grpc(two.tls("grpc", B).await, credential, "dev-1").await;
        assert_eq!(code, Code::Unauthenticated, "{credential}");
        for audience in [A, B] {
            let mut amqp = Amqp::open(two.tls("amqps", B).await, B).await;
            assert_eq!(
                amqp.put_token(audience, credential).await,
                401,
                "{credential}"
            );
            amqp.attach_commands()
                .await
                .expect_err("no token was taken");
        }
    }
    let code = get_over_grpc(two.tls("grpc", B).await, &two.owner(B), "dev-1").await;
    assert_eq!(code, Code::Ok);
    for (scope, key) in [(A, &key_a), (B, &key_a), (A, &key_b)] {
        let (_, code) = two.connect(B, scope, key).await;
        assert_eq!(code, 5, "{scope}");
    }
    let (_, code) = two.connect(B, B, &key_b).await;
    assert_eq!(code, 0);
}

#[tokio::test]
async fn names_that_no_hub_has_lead_to_the_first() {
    let two = Two::start();
    // By its address, which no client names in its handshake.
    let ca = CertificateDer::from_pem_file(two.hub.ca_file()).unwrap();
    let io = two.hub.tls_as("https", "127.0.0.1", ca).await;
    let path = format!("/devices?{VERSION}");
    let (status, answer) = ask(io, ("GET", &path), ("127.0.0.1", &two.owner(A)), "").await;
    assert_eq!(status, 200, "{answer}");
}

#[test]
fn hubs_keep_their_keys_and_the_first_its_name() {
    let data = tempfile::tempdir().unwrap();
    let b = ["--set", "hub.further.b.host_name=b.hub.test"];
    let first = Hub::start(data.path(), &[&["--host", A], &b[..]].concat());
    let before = first.facts.clone();
    assert_eq!(first.signal_and_wait("INT"), Some(0));
    // Another name for the first hub is one more name of it, and never the further hub.
    let second = Hub::start(data.path(), &[&["--host", "c.hub.test"], &b[..]].concat());
    let after = &second.facts;
    assert_eq!(after["furtherHubs"], before["furtherHubs"]);
    assert_eq!(after["hostName"], "c.hub.test");
    let key = |facts: &serde_json::Value| key_of(facts["policies"]["service"].as_str().unwrap());
    assert_eq!(key(after), key(&before));
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_without_a_restart_and_a_wrong_one_is_not() {
    let (data, own) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let now = i64::try_from(rustls_pki_types::UnixTime::now().as_secs()).unwrap();
    let made = dev_certificate::ensure(own.path(), &[], now).unwrap();
    let (chain, key) = (&made.certificate_file, &made.key_file);
    let settings = [
        format!("tls.certificate_file={}", chain.display()),
        format!("tls.key_file={}", key.display()),
    ];
    let set = [
        "--set",
        "tls.reload_interval=100ms",
        "--set",
        &settings[0],
        "--set",
        &settings[1],
    ];
    let hub = Hub::start(data.path(), &set);
    let ca = CertificateDer::from_pem_file(&made.ca_file).unwrap();
    let shown = async || {
        let io = hub.tls_as("mqtts", HOST, ca.clone()).await;
        io.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    let old = CertificateDer::from_pem_file(chain).unwrap();
    assert_eq!(shown().await, old);
    // The key of another, and for as long as that: the old pair.
    let right = std::fs::read(key).unwrap();
    std::fs::copy(own.path().join("ca.key"), key).unwrap();
    hub.metric("downlink_certificates_reloads_total", "outcome=\"refused\"")
        .await;
    assert_eq!(shown().await, old);
    std::fs::write(key, right).unwrap();
    // A further name makes a new certificate, by the same authority.
    dev_certificate::ensure(own.path(), &["more.hub.test".to_owned()], now).unwrap();
    let new = CertificateDer::from_pem_file(chain).unwrap();
    assert_ne!(new, old);
    let showing = async { while shown().await != new {} };
    tokio::time::timeout(PATIENCE, showing)
        .await
        .expect("the new one is shown");
    hub.metric("downlink_certificates_reloads_total", "outcome=\"loaded\"")
        .await;
}
