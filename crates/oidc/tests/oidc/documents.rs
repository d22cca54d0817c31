//! What an issuer, or whoever answers for it, may not do.

use std::time::Duration;

use downlink_oidc::{Algorithm, BearerError, IssuerOptions, KeySource};
use serde_json::{Value, json};

use crate::issuer::{Answer, TestIssuer, document};
use crate::signer::Signer;
use crate::support::{Bench, options};

/// What a token of `issuer` meets under `options`, signed by its key `k1`.
async fn verified(
    signer: &Signer,
    issuer: &TestIssuer,
    options: IssuerOptions,
) -> Result<(), BearerError> {
    let bench = Bench::new(vec![options]);
    let token = signer.token(Algorithm::Es256, Some("k1"), &bench.claims(issuer));
    bench.verify(&token).await.map(|_| ())
}

#[tokio::test]
async fn documents_that_are_no_keys_open_nothing() {
    let signer = Signer::p256();
    let key = signer.published("k1");
    let issuer = TestIssuer::http(&[]).await;
    let many: Vec<Value> = vec![key.clone(); 65];
    let padded = json!({"keys": [key], "pad": "x".repeat(256 * 1024)});
    let twice = format!(r#"{{"keys":[{key}],"keys":[{key}]}}"#);
    let deep = format!(
        r#"{{"keys":{}{key}{}}}"#,
        "[".repeat(20_000),
        "]".repeat(20_000)
    );
    for answer in [
        document(&[]),
        document(&many),
        Answer::Document(padded.to_string()),
        Answer::Document(twice),
        Answer::Document(deep),
        Answer::Document("<html>".to_owned()),
        Answer::Document(String::new()),
        Answer::Document(key.to_string()),
        Answer::Status(204),
        Answer::Status(404),
        Answer::Status(500),
        Answer::Endless,
        Answer::Closed,
    ] {
        issuer.answer_keys(answer.clone());
        let refused = verified(&signer, &issuer, options(&issuer)).await;
        let told = format!("{answer:?}").chars().take(80).collect::<String>();
        assert_eq!(refused, Err(BearerError::Unavailable), "{told}");
    }
    issuer.publish(&[key]);
    assert_eq!(verified(&signer, &issuer, options(&issuer)).await, Ok(()));
}

#[tokio::test]
async fn a_discovery_document_of_another_issuer_is_not_followed() {
    let signer = Signer::p256();
    let issuer = TestIssuer::http(&[signer.published("k1")]).await;
    let keys = format!("{}/keys", issuer.address);
    for discovery in [
        json!({"issuer": "https://other.test", "jwks_uri": keys}),
        json!({"issuer": format!("{}/", issuer.address), "jwks_uri": keys}),
        json!({"jwks_uri": keys}),
        json!({"issuer": issuer.address}),
        json!({"issuer": issuer.address, "jwks_uri": ["a"]}),
        json!({"issuer": issuer.address, "jwks_uri": "file:///etc/passwd"}),
        json!({"issuer": issuer.address, "jwks_uri": "/keys"}),
        json!({"issuer": issuer.address, "jwks_uri": keys.replace("//", "//user:word@")}),
        json!([]),
    ] {
        issuer.answer_discovery(Answer::Document(discovery.to_string()));
        let refused = verified(&signer, &issuer, options(&issuer)).await;
        assert_eq!(refused, Err(BearerError::Unavailable), "{discovery}");
    }
    assert_eq!(issuer.key_requests(), 0);
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let signer = Signer::p256();
    let issuer = TestIssuer::http(&[signer.published("k1")]).await;
    let other = TestIssuer::http(&[signer.published("k1")]).await;
    issuer.answer_keys(Answer::Redirect(format!("{}/keys", other.address)));
    let refused = verified(&signer, &issuer, options(&issuer)).await;
    assert_eq!(refused, Err(BearerError::Unavailable));
    let elsewhere = format!("{}/.well-known/openid-configuration", other.address);
    issuer.answer_discovery(Answer::Redirect(elsewhere));
    let refused = verified(&signer, &issuer, options(&issuer)).await;
    assert_eq!(refused, Err(BearerError::Unavailable));
    assert_eq!(other.requests(), 0);
}

#[tokio::test]
async fn an_issuer_that_is_slow_costs_its_tokens_the_deadline_and_no_more() {
    let signer = Signer::p256();
    let issuer = TestIssuer::http(&[]).await;
    for answer in [Answer::Silence, Answer::Stalled] {
        issuer.answer_keys(answer);
        let options = IssuerOptions {
            fetch_timeout: Duration::from_millis(200),
            ..options(&issuer)
        };
        let verifying = verified(&signer, &issuer, options);
        let refused = tokio::time::timeout(Duration::from_secs(5), verifying).await;
        assert_eq!(refused.unwrap(), Err(BearerError::Unavailable));
    }
}

#[tokio::test]
async fn an_issuer_on_https_must_have_a_certificate_of_a_trusted_authority_and_its_own_name() {
    let signer = Signer::p256();
    let issuer = TestIssuer::https(&[signer.published("k1")]).await;
    let stranger = TestIssuer::https(&[]).await;
    let strange = IssuerOptions {
        authorities: stranger.authority.clone(),
        ..options(&issuer)
    };
    let refused = verified(&signer, &issuer, strange).await;
    assert_eq!(refused, Err(BearerError::Unavailable));
    let misnamed = IssuerOptions {
        keys: KeySource::Url(format!(
            "{}/keys",
            issuer.address.replace("localhost", "127.0.0.1")
        )),
        ..options(&issuer)
    };
    let refused = verified(&signer, &issuer, misnamed).await;
    assert_eq!(refused, Err(BearerError::Unavailable));
    assert_eq!(issuer.requests(), 0);
    assert_eq!(verified(&signer, &issuer, options(&issuer)).await, Ok(()));
}

#[tokio::test]
async fn plain_http_is_asked_only_where_it_is_allowed() {
    let signer = Signer::p256();
    let plain = TestIssuer::http(&[signer.published("k1")]).await;
    let strict = IssuerOptions {
        allow_http: false,
        ..options(&plain)
    };
    let refused = verified(&signer, &plain, strict).await;
    assert_eq!(refused, Err(BearerError::Unavailable));
    // Nor does an issuer lead there.
    let issuer = TestIssuer::https(&[]).await;
    let discovery =
        json!({"issuer": issuer.address, "jwks_uri": format!("{}/keys", plain.address)});
    issuer.answer_discovery(Answer::Document(discovery.to_string()));
    let strict = IssuerOptions {
        allow_http: false,
        ..options(&issuer)
    };
    let refused = verified(&signer, &issuer, strict).await;
    assert_eq!(refused, Err(BearerError::Unavailable));
    assert_eq!(plain.requests(), 0);
}

#[tokio::test]
async fn keys_at_a_given_address_need_no_discovery() {
    let signer = Signer::p256();
    let issuer = TestIssuer::https(&[signer.published("k1")]).await;
    issuer.answer_discovery(Answer::Status(404));
    let direct = IssuerOptions {
        keys: KeySource::Url(format!("{}/keys", issuer.address)),
        ..options(&issuer)
    };
    assert_eq!(verified(&signer, &issuer, direct).await, Ok(()));
    assert_eq!(issuer.requests(), 1);
}
