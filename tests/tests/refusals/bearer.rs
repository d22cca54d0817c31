//! Bearer tokens, those that hold and those that must not.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData as _, SigningKey as _};
use serde_json::{Value, json};
use sha2::Sha256;

const ISSUER: &str = "https://issuer.refusals.test";
const AUDIENCE: &str = "https://back-ends.refusals.test";

/// An issuer whose keys the hub reads from a file.
pub(crate) struct Issuer {
    key: KeyPair,
}

impl Issuer {
    /// Makes the issuer, and the configuration of a hub that trusts it, in `folder`.
    pub(crate) fn trusted_in(folder: &Path) -> Self {
        let issuer = Self {
            key: KeyPair::generate_for(&PKCS_ED25519).unwrap(),
        };
        let x = encode(issuer.key.der_bytes());
        let keys = json!({"keys": [
            {"kty": "OKP", "crv": "Ed25519", "kid": "first", "use": "sig", "alg": "EdDSA", "x": x}
        ]});
        let file = folder.join("keys.json");
        std::fs::write(&file, keys.to_string()).unwrap();
        let settings = format!(
            "[[oidc.issuers]]\nissuer = \"{ISSUER}\"\njwks_uri = \"{}\"\naudiences = [\"{AUDIENCE}\"]\n\
             algorithms = [\"EdDSA\"]\n",
            file.display()
        );
        std::fs::write(folder.join("downlink.toml"), settings).unwrap();
        issuer
    }

    /// A token that holds, with a role.
    pub(crate) fn token(&self, role: &str) -> String {
        self.changed(role, |_, _| ())
    }

    /// Tokens that must not be taken, with the causes that may be told to operators.
    pub(crate) fn bad_tokens(&self) -> Vec<(&'static str, String)> {
        let owner = "IoT Hub Data Contributor";
        let with = |name: &'static str, change: &dyn Fn(&mut Value, &mut Value)| {
            (name, self.changed(owner, change))
        };
        let stranger = Self {
            key: KeyPair::generate_for(&PKCS_ED25519).unwrap(),
        };
        let unsigned = sign(
            &json!({"alg": "none", "typ": "JWT"}),
            &claims(owner),
            |_| Vec::new(),
        );
        let public = self.key.der_bytes().to_vec();
        let by_public_key = sign(
            &json!({"alg": "HS256", "kid": "first"}),
            &claims(owner),
            |text| {
                let mut mac = Hmac::<Sha256>::new_from_slice(&public).unwrap();
                mac.update(text);
                mac.finalize().into_bytes().to_vec()
            },
        );
        vec![
            ("an unsigned token", format!("Bearer {unsigned}")),
            (
                "HS256 with the public key",
                format!("Bearer {by_public_key}"),
            ),
            ("a stranger's key", stranger.token(owner)),
            with("an unknown issuer", &|_, claims| {
                claims["iss"] = "https://other.test".into();
            }),
            with("another audience", &|_, claims| {
                claims["aud"] = "https://other.test".into();
            }),
            with("no audience", &|_, claims| {
                claims.as_object_mut().unwrap().remove("aud");
            }),
            with("an expired token", &|_, claims| {
                claims["exp"] = (now() - 301).into();
            }),
            with("a token without an end", &|_, claims| {
                claims.as_object_mut().unwrap().remove("exp");
            }),
            with("a token of tomorrow", &|_, claims| {
                claims["nbf"] = (now() + 86_400).into();
            }),
            with("an unknown key", &|head, _| head["kid"] = "second".into()),
            with("an algorithm that is not allowed", &|head, _| {
                head["alg"] = "RS256".into();
            }),
            with("a header that must be understood", &|head, _| {
                head["crit"] = json!(["b64"]);
            }),
            ("three words", "Bearer a.b.c".to_owned()),
            ("nothing after the scheme", "Bearer ".to_owned()),
        ]
    }

    fn changed(&self, role: &str, change: impl Fn(&mut Value, &mut Value)) -> String {
        let mut head = json!({"alg": "EdDSA", "typ": "JWT", "kid": "first"});
        let mut claims = claims(role);
        change(&mut head, &mut claims);
        let token = sign(&head, &claims, |text| self.key.sign(text).unwrap());
        format!("Bearer {token}")
    }
}

fn claims(role: &str) -> Value {
    json!({
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "plant-floor",
        "iat": now(),
        "exp": now() + 600,
        "roles": [role],
    })
}

fn sign(head: &Value, claims: &Value, by: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let text = format!(
        "{}.{}",
        encode(head.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    let signature = by(text.as_bytes());
    format!("{text}.{}", encode(&signature))
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "the hub under test reads the same clock of the machine"
)]
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    i64::try_from(since.as_secs()).unwrap()
}
