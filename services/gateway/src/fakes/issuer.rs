//! An issuer of bearer tokens whose keys are in a file.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use downlink_domain::access::{Action, Actions};
use downlink_oidc::{IssuerOptions, Issuers, KeySource};
use downlink_ports::Clock;
use downlink_runtime::Lifecycle;
use downlink_runtime::telemetry::Metrics;
use rcgen::{KeyPair, SigningKey as _};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::TestHub;

const NAME: &str = "https://issuer.test";

/// An issuer that lets its tokens' holders do what their roles say: `all`, `send`, `read-twins`, `none`.
pub(crate) struct TestIssuer {
    key: KeyPair,
    folder: TempDir,
    lifecycle: Lifecycle,
}

impl TestIssuer {
    /// Makes an issuer with a key of its own.
    pub(crate) fn new() -> Self {
        let issuer = Self {
            key: KeyPair::generate().unwrap(),
            folder: tempfile::tempdir().unwrap(),
            lifecycle: Lifecycle::new(),
        };
        let point = &issuer.key.public_key_raw()[1..];
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (x, y) = (text(&point[..32]), text(&point[32..]));
        let key = json!({"kty": "EC", "crv": "P-256", "kid": "k1", "x": x, "y": y});
        let keys = json!({"keys": [key]}).to_string();
        std::fs::write(issuer.folder.path().join("keys"), keys).unwrap();
        issuer
    }

    /// Makes a hub that trusts it.
    pub(crate) async fn hub(&self) -> TestHub {
        TestHub::with_peers(|peers| peers.issuers = Arc::new(self.trusted(&peers.clock))).await
    }

    fn trusted(&self, clock: &Arc<dyn Clock>) -> Issuers {
        let mapping = [
            ("all", Actions::matching("*")),
            ("send", Actions::of(&[Action::SendMessage])),
            ("read-twins", Actions::of(&[Action::TwinsRead])),
            ("none", Actions::NONE),
        ];
        let options = IssuerOptions {
            keys: KeySource::File(self.folder.path().join("keys")),
            audiences: vec!["https://{HostName}".to_owned()],
            mapping: mapping
                .map(|(role, actions)| (role.to_owned(), actions))
                .into(),
            ..IssuerOptions::new(NAME)
        };
        let meter = Metrics::new("test").unwrap().meter("test");
        Issuers::start(vec![options], &["hub.test"], clock, &meter, &self.lifecycle).unwrap()
    }

    /// A credential of somebody in that role, good for an hour.
    pub(crate) fn bearer(&self, hub: &TestHub, role: &str) -> String {
        self.bearer_for(hub, role, Duration::from_hours(1))
    }

    /// A credential of somebody in that role, good for that long.
    pub(crate) fn bearer_for(&self, hub: &TestHub, role: &str, life: Duration) -> String {
        let now = hub.clock.now();
        let claims = json!({
            "iss": NAME,
            "aud": "https://hub.test",
            "sub": "back-end-1",
            "iat": now.as_seconds(),
            "exp": (now + life).as_seconds(),
            "roles": [role],
        });
        format!("Bearer {}", self.sign(&claims))
    }

    fn sign(&self, claims: &Value) -> String {
        let text = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"alg": "ES256", "typ": "JWT", "kid": "k1"});
        let signed = format!("{}.{}", text(&header), text(claims));
        let signature = fixed(&self.key.sign(signed.as_bytes()).unwrap());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Turns the two numbers of a signature in DER into the 64 bytes that tokens have.
fn fixed(der: &[u8]) -> [u8; 64] {
    let mut fixed = [0; 64];
    let mut rest = &der[2..];
    for end in [32, 64] {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        let number = &number[number.len().saturating_sub(32)..];
        fixed[end - number.len()..end].copy_from_slice(number);
        rest = &rest[2 + length..];
    }
    fixed
}
