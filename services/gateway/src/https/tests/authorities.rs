//! Administration of certificate authorities.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use downlink_domain::authority::MAX_AUTHORITIES;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use serde_json::json;

use super::*;

const PATH: &str = "/admin/certificates/plant";
const STALE: &str = "\"c3RhbGU=\"";

/// An authority whose key is at hand.
struct Authority {
    pem: String,
    der: Vec<u8>,
    issuer: Issuer<'static, KeyPair>,
}

fn params(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = date_time_ymd(2020, 1, 2);
    params.not_after = date_time_ymd(2040, 3, 4);
    params
}

impl Authority {
    fn new(common_name: &str) -> Self {
        let mut params = params(common_name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().to_vec(),
            issuer: Issuer::new(params, key),
        }
    }

    fn body(&self) -> Value {
        json!({"certificate": self.pem})
    }

    fn sign(&self, params: &CertificateParams) -> String {
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &self.issuer).unwrap().pem()
    }
}

fn put(hub: &TestHub) -> Ask<'_> {
    ask(hub, Method::PUT, PATH)
}

fn challenge(hub: &TestHub) -> Ask<'_> {
    ask(hub, Method::POST, &format!("{PATH}/verificationCode"))
}

fn verify<'a>(hub: &'a TestHub, proof: &str) -> Ask<'a> {
    ask(hub, Method::POST, &format!("{PATH}/verify")).body(&json!({"certificate": proof}))
}

/// Asks for a code and gives it.
async fn code(hub: &TestHub) -> String {
    let asked = challenge(hub).json().await;
    assert_eq!(asked["isVerified"], false);
    asked["verificationCode"].as_str().unwrap().to_owned()
}

/// Registers the authority and proves it.
async fn verified(hub: &TestHub, authority: &Authority) -> Value {
    put(hub).body(&authority.body()).json().await;
    let proof = authority.sign(&params(&code(hub).await));
    verify(hub, &proof).json().await
}

#[tokio::test]
async fn a_registered_authority_reads_as_it_was_answered() {
    let hub = TestHub::new().await;
    let authority = Authority::new("Plant 7");
    let made = put(&hub).body(&authority.body()).send().await;
    let document = made.json();
    let thumbprint = document["thumbprint"].as_str().unwrap();
    assert_eq!(thumbprint.len(), 64);
    let now = "2026-01-05T12:00:00.0000000Z";
    assert_eq!(
        document,
        json!({
            "name": "plant",
            "certificate": STANDARD.encode(&authority.der),
            "subject": "CN=Plant 7",
            "thumbprint": thumbprint,
            "notBefore": "2020-01-02T00:00:00.0000000Z",
            "notAfter": "2040-03-04T00:00:00.0000000Z",
            "isVerified": false,
            "etag": "MQ==",
            "created": now,
            "updated": now,
        })
    );
    assert_eq!(made.header("etag"), Some("\"MQ==\""));
    let read = ask(&hub, Method::GET, PATH).send().await;
    assert_eq!(read.body, made.body);
    let all = ask(&hub, Method::GET, "/admin/certificates").json().await;
    assert_eq!(all, json!([document]));
}

#[tokio::test]
async fn a_certificate_is_taken_in_every_text_that_tools_make() {
    let hub = TestHub::new().await;
    let authority = Authority::new("root");
    let mut etag = String::new();
    for text in [
        authority.pem.clone(),
        STANDARD.encode(&authority.der),
        STANDARD.encode(&authority.pem),
    ] {
        let asked = put(&hub)
            .if_match(&etag)
            .body(&json!({"certificate": text}));
        let written = asked.json().await;
        assert_eq!(written["certificate"], STANDARD.encode(&authority.der));
        etag = written["etag"].as_str().unwrap().to_owned();
    }
}

#[tokio::test]
async fn an_authority_is_verified_by_a_certificate_that_bears_the_code() {
    let hub = TestHub::new().await;
    let authority = Authority::new("root");
    put(&hub).body(&authority.body()).json().await;
    let (first, second) = (code(&hub).await, code(&hub).await);
    assert_ne!(first, second);
    for code in [&first, &second] {
        assert_eq!(code.len(), 48);
        assert!(
            code.bytes()
                .all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(&b))
        );
    }
    let late = verify(&hub, &authority.sign(&params(&first))).code().await;
    assert_eq!(late, refused(400, "ArgumentInvalid"));
    let document = verify(&hub, &authority.sign(&params(&second))).json().await;
    assert_eq!(document["isVerified"], true);
    assert_eq!(document.get("verificationCode"), None);
    let read = ask(&hub, Method::GET, PATH).json().await;
    assert_eq!(read, document);
}

#[tokio::test]
async fn what_proves_nothing_leaves_the_authority_challenged() {
    let hub = TestHub::new().await;
    let (authority, other) = (Authority::new("root"), Authority::new("root"));
    put(&hub).body(&authority.body()).json().await;
    let code = code(&hub).await;
    let mut expired = params(&code);
    expired.not_after = date_time_ymd(2021, 1, 1);
    for proof in [
        authority.pem.clone(),
        other.sign(&params(&code)),
        authority.sign(&params(&code.replacen('0', "1", 1))),
        authority.sign(&expired),
        "not a certificate".to_owned(),
        STANDARD.encode("not a certificate"),
    ] {
        let refusal = verify(&hub, &proof).code().await;
        assert_eq!(refusal, refused(400, "ArgumentInvalid"), "{proof}");
    }
    for body in [json!({}), json!({"certificate": null})] {
        let asked = ask(&hub, Method::POST, &format!("{PATH}/verify")).body(&body);
        assert_eq!(asked.code().await, refused(400, "ArgumentNull"));
    }
    let read = ask(&hub, Method::GET, PATH).json().await;
    assert_eq!(
        (&read["isVerified"], &read["verificationCode"]),
        (&json!(false), &json!(code))
    );
    verify(&hub, &authority.sign(&params(&code))).json().await;
}

#[tokio::test]
async fn each_step_has_its_place() {
    let hub = TestHub::new().await;
    let authority = Authority::new("root");
    for asked in [challenge(&hub), verify(&hub, &authority.pem)] {
        assert_eq!(asked.code().await, refused(404, "GenericNotFound"));
    }
    put(&hub).body(&authority.body()).json().await;
    let early = verify(&hub, &authority.pem).code().await;
    assert_eq!(early, refused(400, "InvalidOperation"));
    let proof = authority.sign(&params(&code(&hub).await));
    let stale = verify(&hub, &proof).if_match(STALE).code().await;
    assert_eq!(stale, refused(412, "PreconditionFailed"));
    verify(&hub, &proof).if_match("\"Mg==\"").json().await;
    for asked in [challenge(&hub), verify(&hub, &proof)] {
        assert_eq!(asked.code().await, refused(400, "InvalidOperation"));
    }
}

#[tokio::test]
async fn possession_is_shown_and_never_claimed() {
    let hub = TestHub::new().await;
    let (authority, next) = (Authority::new("root"), Authority::new("next"));
    let claim = |authority: &Authority| json!({"certificate": authority.pem, "isVerified": true});
    let claimed = put(&hub).body(&claim(&authority)).code().await;
    assert_eq!(claimed, refused(400, "InvalidOperation"));
    let document = verified(&hub, &authority).await;
    let again = put(&hub).if_match("*").body(&document).json().await;
    assert_eq!(
        (&again["isVerified"], &again["created"]),
        (&json!(true), &document["created"])
    );
    let claimed = put(&hub).if_match("*").body(&claim(&next)).code().await;
    assert_eq!(claimed, refused(400, "InvalidOperation"));
    let replaced = put(&hub).if_match("*").body(&next.body()).json().await;
    assert_eq!(
        (&replaced["isVerified"], &replaced["subject"]),
        (&json!(false), &json!("CN=next"))
    );
}

#[tokio::test]
async fn an_authority_is_registered_once_and_replaced_under_a_condition() {
    let hub = TestHub::new().await;
    let authority = Authority::new("root");
    for missing in ["*", STALE] {
        let code = put(&hub).if_match(missing).body(&authority.body()).code();
        assert_eq!(code.await, refused(404, "GenericNotFound"));
    }
    put(&hub).body(&authority.body()).json().await;
    let again = put(&hub).body(&Authority::new("other").body()).code().await;
    assert_eq!(again, refused(409, "GenericConflict"));
    let other_name = ask(&hub, Method::PUT, "/admin/certificates/other");
    let twice = other_name.body(&authority.body()).code().await;
    assert_eq!(twice, refused(409, "GenericConflict"));
    let stale = put(&hub)
        .if_match(STALE)
        .body(&authority.body())
        .code()
        .await;
    assert_eq!(stale, refused(412, "PreconditionFailed"));
    put(&hub)
        .if_match("\"MQ==\"")
        .body(&authority.body())
        .json()
        .await;
}

#[tokio::test]
async fn an_authority_is_removed_unless_the_condition_names_another_etag() {
    let hub = TestHub::new().await;
    put(&hub).body(&Authority::new("root").body()).json().await;
    let delete = || ask(&hub, Method::DELETE, PATH);
    let stale = delete().if_match(STALE).code().await;
    assert_eq!(stale, refused(412, "PreconditionFailed"));
    assert_eq!(delete().send().await.status, StatusCode::NO_CONTENT);
    assert_eq!(delete().code().await, refused(404, "GenericNotFound"));
    let all = ask(&hub, Method::GET, "/admin/certificates").json().await;
    assert_eq!(all, json!([]));
}

#[tokio::test]
async fn what_is_no_authority_is_refused() {
    let hub = TestHub::new().await;
    let authority = Authority::new("root");
    let leaf = authority.sign(&params("device-1"));
    let twice = format!("{0}{0}", authority.pem);
    for (body, code) in [
        (json!({}), "ArgumentNull"),
        (json!({"certificate": 7}), "ArgumentInvalid"),
        (json!({"certificate": ""}), "ArgumentInvalid"),
        (json!({"certificate": "%%%"}), "ArgumentInvalid"),
        (
            json!({"certificate": STANDARD.encode("no certificate")}),
            "ArgumentInvalid",
        ),
        (
            json!({"certificate": "A".repeat(40_000)}),
            "ArgumentInvalid",
        ),
        (json!({"certificate": leaf}), "ArgumentInvalid"),
        (json!({"certificate": twice}), "ArgumentInvalid"),
        (
            json!({"certificate": authority.pem, "isVerified": "yes"}),
            "ArgumentInvalid",
        ),
        (
            json!({"certificate": authority.pem, "name": "other"}),
            "ArgumentInvalid",
        ),
        (
            json!({"certificate": authority.pem, "trusted": true}),
            "ArgumentInvalid",
        ),
    ] {
        assert_eq!(
            put(&hub).body(&body).code().await,
            refused(400, code),
            "{body}"
        );
    }
    let path = "/admin/certificates/a%20b";
    let code = ask(&hub, Method::PUT, path).body(&authority.body()).code();
    assert_eq!(code.await, refused(400, "ArgumentInvalid"));
}

#[tokio::test]
async fn a_hub_has_as_many_authorities_as_it_may() {
    let hub = TestHub::new().await;
    for number in 0..MAX_AUTHORITIES {
        let path = format!("/admin/certificates/ca{number}");
        let body = Authority::new("root").body();
        ask(&hub, Method::PUT, &path).body(&body).json().await;
    }
    let code = put(&hub).body(&Authority::new("root").body()).code().await;
    assert_eq!(code, refused(403, "IotHubQuotaExceeded"));
}
