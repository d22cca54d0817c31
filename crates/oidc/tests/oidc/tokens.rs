//! What a token must be.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use downlink_domain::access::{Action, Actions};
use downlink_oidc::{Algorithm, BearerError, IssuerOptions};
use serde_json::{Value, json};

use crate::issuer::TestIssuer;
use crate::signer::{Signer, unsigned};
use crate::support::{AUDIENCE, Bench, options};

/// An issuer with one P-256 key `k1` and the bench that trusts it.
async fn start() -> (Signer, TestIssuer, Bench) {
    let signer = Signer::p256();
    let issuer = TestIssuer::http(&[signer.published("k1")]).await;
    let bench = Bench::of(&issuer);
    (signer, issuer, bench)
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

#[tokio::test]
async fn a_token_of_a_trusted_issuer_says_who_may_do_what_until_when() {
    let signer = Signer::p256();
    let issuer = TestIssuer::https(&[signer.published("k1")]).await;
    let bench = Bench::of(&issuer);
    let claims = bench.claims(&issuer);
    let token = signer.token(Algorithm::Es256, Some("k1"), &claims);
    let bearer = bench.verify(&token).await.unwrap();
    assert_eq!(&*bearer.issuer, issuer.address);
    assert_eq!(bearer.subject, "back-end");
    assert_eq!(bearer.actions, Actions::of(&[Action::SendMessage]));
    assert_eq!(bearer.expires_at_seconds, bench.now() + 3_600);
    assert!(
        bench
            .metric(r#"verifications_total{outcome="accepted""#)
            .ends_with(" 1")
    );
    assert!(
        bench
            .metric(r#"fetches_total{outcome="keys""#)
            .ends_with(" 1")
    );
}

#[tokio::test]
async fn every_algorithm_with_public_keys_is_verified() {
    let signers: Vec<(Algorithm, Signer)> = Algorithm::ALL
        .iter()
        .map(|algorithm| (*algorithm, Signer::for_algorithm(*algorithm)))
        .collect();
    let published: Vec<Value> = signers
        .iter()
        .map(|(algorithm, signer)| signer.published(algorithm.name()))
        .collect();
    let issuer = TestIssuer::http(&published).await;
    let bench = Bench::of(&issuer);
    let claims = bench.claims(&issuer);
    for (algorithm, signer) in &signers {
        let token = signer.token(*algorithm, Some(algorithm.name()), &claims);
        assert!(bench.verify(&token).await.is_ok(), "{algorithm:?}");
    }
}

#[tokio::test]
async fn an_algorithm_that_is_not_configured_is_refused() {
    let signer = Signer::p256();
    let issuer = TestIssuer::http(&[signer.published("k1")]).await;
    let bench = Bench::new(vec![IssuerOptions {
        algorithms: vec![Algorithm::Rs256],
        ..options(&issuer)
    }]);
    let token = signer.token(Algorithm::Es256, Some("k1"), &bench.claims(&issuer));
    assert_eq!(bench.verify(&token).await, Err(BearerError::Algorithm));
}

#[tokio::test]
async fn neither_an_unsigned_token_nor_one_signed_by_a_published_key_as_secret_is_taken() {
    let (signer, issuer, bench) = start().await;
    let claims = bench.claims(&issuer);
    let none = unsigned(&json!({"alg": "none", "typ": "JWT"}), &claims);
    let own = signer.token(Algorithm::Es256, Some("k1"), &claims);
    let signature = own.rsplit_once('.').unwrap().1;
    assert_eq!(
        bench.verify(&format!("{none}.")).await,
        Err(BearerError::Algorithm)
    );
    assert_eq!(
        bench.verify(&format!("{none}.{signature}")).await,
        Err(BearerError::Algorithm)
    );

    let published = signer.published("k1");
    let x = URL_SAFE_NO_PAD
        .decode(published["x"].as_str().unwrap())
        .unwrap();
    for secret in [published.to_string().into_bytes(), x] {
        for name in ["HS256", "HS512"] {
            let text = unsigned(&json!({"alg": name, "kid": "k1"}), &claims);
            let kind = if name == "HS256" {
                hmac::HMAC_SHA256
            } else {
                hmac::HMAC_SHA512
            };
            let tag = hmac::sign(&hmac::Key::new(kind, &secret), text.as_bytes());
            let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()));
            assert_eq!(bench.verify(&token).await, Err(BearerError::Algorithm));
        }
    }
}

#[tokio::test]
async fn only_the_keys_that_the_issuer_publishes_sign_its_tokens() {
    let (signer, issuer, bench) = start().await;
    let stranger = Signer::p256();
    let claims = bench.claims(&issuer);
    let forged = stranger.token(Algorithm::Es256, Some("k1"), &claims);
    assert_eq!(bench.verify(&forged).await, Err(BearerError::Signature));
    // A key that comes with the token proves nothing.
    let header = json!({"alg": "ES256", "kid": "k1", "jwk": stranger.published("k1"),
        "jku": format!("{}/keys", issuer.address)});
    let forged = stranger.token_with(&header, Algorithm::Es256, &claims);
    assert_eq!(bench.verify(&forged).await, Err(BearerError::Signature));
    // A signature holds for its own claims alone.
    let own = signer.token(Algorithm::Es256, Some("k1"), &claims);
    let more = with(claims.clone(), "roles", json!(["sender", "owner"]));
    let other = unsigned(&json!({"alg": "ES256", "kid": "k1", "typ": "JWT"}), &more);
    let moved = format!("{other}.{}", own.rsplit_once('.').unwrap().1);
    assert_eq!(bench.verify(&moved).await, Err(BearerError::Signature));
    // The key is of another kind than the algorithm.
    let header = json!({"alg": "RS256", "kid": "k1"});
    let odd = signer.token_with(&header, Algorithm::Es256, &claims);
    assert_eq!(bench.verify(&odd).await, Err(BearerError::UnknownKey));
}

#[tokio::test]
async fn the_key_of_one_issuer_signs_nothing_for_another() {
    let (one, other) = (Signer::p256(), Signer::p256());
    let first = TestIssuer::http(&[one.published("k1")]).await;
    let second = TestIssuer::http(&[other.published("k2")]).await;
    let bench = Bench::new(vec![options(&first), options(&second)]);
    let claims = bench.claims(&second);
    let crossed = one.token(Algorithm::Es256, Some("k1"), &claims);
    assert_eq!(bench.verify(&crossed).await, Err(BearerError::UnknownKey));
    let own = other.token(Algorithm::Es256, Some("k2"), &claims);
    assert_eq!(&*bench.verify(&own).await.unwrap().issuer, second.address);
}

#[tokio::test]
async fn without_a_key_id_the_one_key_that_fits_is_meant_and_of_two_none() {
    let (one, other) = (Signer::p256(), Signer::p256());
    let issuer = TestIssuer::http(&[one.published("k1")]).await;
    let bench = Bench::of(&issuer);
    let token = one.token(Algorithm::Es256, None, &bench.claims(&issuer));
    assert!(bench.verify(&token).await.is_ok());
    issuer.publish(&[one.published("k1"), other.published("k2")]);
    let named = other.token(Algorithm::Es256, Some("k2"), &bench.claims(&issuer));
    assert!(bench.verify(&named).await.is_ok());
    assert_eq!(bench.verify(&token).await, Err(BearerError::UnknownKey));
}

#[tokio::test]
async fn claims_that_do_not_hold_are_refused_each_for_its_cause() {
    let (signer, issuer, bench) = start().await;
    let (claims, now) = (bench.claims(&issuer), bench.now());
    for (name, value, cause) in [
        (
            "iss",
            json!("https://other.test"),
            BearerError::UnknownIssuer,
        ),
        (
            "iss",
            json!(format!("{}/", issuer.address)),
            BearerError::UnknownIssuer,
        ),
        ("iss", Value::Null, BearerError::Claims),
        ("iss", json!([issuer.address]), BearerError::Claims),
        (
            "aud",
            json!("https://iothubs.azure.net"),
            BearerError::Audience,
        ),
        ("aud", json!(["a", "b"]), BearerError::Audience),
        ("aud", Value::Null, BearerError::Audience),
        ("exp", json!(now - 300), BearerError::Expired),
        ("exp", json!("tomorrow"), BearerError::Claims),
        ("nbf", json!(now + 301), BearerError::NotYetValid),
        ("iat", json!(now + 301), BearerError::NotYetValid),
        ("sub", json!("line\nbreak"), BearerError::Claims),
    ] {
        let claims = with(claims.clone(), name, value.clone());
        let token = signer.token(Algorithm::Es256, Some("k1"), &claims);
        assert_eq!(bench.verify(&token).await, Err(cause), "{name} {value}");
    }
    let several = with(claims.clone(), "aud", json!(["other", AUDIENCE]));
    let skewed = with(
        with(several, "exp", json!(now - 299)),
        "nbf",
        json!(now + 300),
    );
    let token = signer.token(Algorithm::Es256, Some("k1"), &skewed);
    assert!(bench.verify(&token).await.is_ok());
    let unmapped = with(claims, "roles", json!(["owner"]));
    let token = signer.token(Algorithm::Es256, Some("k1"), &unmapped);
    assert!(bench.verify(&token).await.unwrap().actions.is_empty());
}

#[tokio::test]
async fn a_token_ends_with_the_clock() {
    let (signer, issuer, bench) = start().await;
    let token = signer.token(Algorithm::Es256, Some("k1"), &bench.claims(&issuer));
    bench.clock.advance(Duration::from_secs(3_600 + 299));
    assert!(bench.verify(&token).await.is_ok());
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(bench.verify(&token).await, Err(BearerError::Expired));
}

#[tokio::test]
async fn a_token_of_16_kib_is_taken_and_a_longer_one_is_not_looked_at() {
    let (signer, issuer, bench) = start().await;
    let token = |padding: usize| {
        let claims = with(bench.claims(&issuer), "pad", "x".repeat(padding).into());
        signer.token(Algorithm::Es256, Some("k1"), &claims)
    };
    let base = token(0).len();
    let fits = token((16 * 1024 - base) / 4 * 3 - 3);
    assert!(fits.len() <= 16 * 1024 && bench.verify(&fits).await.is_ok());
    assert_eq!(
        bench.verify(&token(13_000)).await,
        Err(BearerError::TooLarge)
    );
    let huge = "a".repeat(1024 * 1024);
    assert_eq!(bench.verify(&huge).await, Err(BearerError::TooLarge));
}

#[tokio::test]
async fn a_claim_that_stands_twice_is_refused() {
    let (signer, issuer, bench) = start().await;
    let claims = bench.claims(&issuer).to_string();
    let twice = claims.replacen('{', r#"{"aud":"x","#, 1);
    let raw = serde_json::value::RawValue::from_string(twice).unwrap();
    let header = json!({"alg": "ES256", "kid": "k1"}).to_string();
    let text = [header.as_str(), raw.get()]
        .map(|part| URL_SAFE_NO_PAD.encode(part))
        .join(".");
    let signature = signer.signature(Algorithm::Es256, text.as_bytes());
    let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature));
    assert_eq!(bench.verify(&token).await, Err(BearerError::Malformed));
}

#[tokio::test]
async fn each_hub_takes_tokens_for_its_own_names_alone() {
    let (signer, issuer, bench) = start().await;
    let other = bench.issuers.for_hub(&["other.test", "alias.test"]);
    let token = |aud: &str| {
        let claims = with(bench.claims(&issuer), "aud", aud.into());
        signer.token(Algorithm::Es256, Some("k1"), &claims)
    };
    let now = bench.now();
    assert!(bench.verify(&token(AUDIENCE)).await.is_ok());
    assert_eq!(
        other.verify(&token(AUDIENCE), now).await,
        Err(BearerError::Audience)
    );
    for aud in ["https://other.test", "https://alias.test"] {
        assert!(other.verify(&token(aud), now).await.is_ok());
        assert_eq!(bench.verify(&token(aud)).await, Err(BearerError::Audience));
    }
    assert_eq!(issuer.key_requests(), 1);
}
