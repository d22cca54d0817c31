//! How keys come and go.

use std::time::Duration;

use downlink_oidc::{Algorithm, BearerError, IssuerOptions, KeySource};
use futures::future::join_all;
use serde_json::json;

use crate::issuer::{Answer, TestIssuer};
use crate::signer::Signer;
use crate::support::{Bench, options};

const HALF_MINUTE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn tokens_of_a_new_key_are_taken_without_a_restart_and_cause_one_look() {
    let (old, new) = (Signer::p256(), Signer::p256());
    let issuer = TestIssuer::http(&[old.published("old")]).await;
    let bench = Bench::of(&issuer);
    let first = old.token(Algorithm::Es256, Some("old"), &bench.claims(&issuer));
    assert!(bench.verify(&first).await.is_ok());
    issuer.publish(&[new.published("new")]);
    let next = new.token(Algorithm::Es256, Some("new"), &bench.claims(&issuer));
    let all = join_all((0..100).map(|_| bench.verify(&next))).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    assert_eq!(issuer.key_requests(), 2);
    assert_eq!(bench.verify(&first).await, Err(BearerError::UnknownKey));
}

#[tokio::test]
async fn a_flood_of_unknown_keys_causes_one_look_in_half_a_minute() {
    let signer = Signer::p256();
    let issuer = TestIssuer::http(&[signer.published("k1")]).await;
    let bench = Bench::of(&issuer);
    let claims = bench.claims(&issuer);
    let known = signer.token(Algorithm::Es256, Some("k1"), &claims);
    assert!(bench.verify(&known).await.is_ok());
    for looks in 2..4 {
        let flood = (0..300).map(|number| {
            let id = format!("unknown-{number}");
            let token = signer.token(Algorithm::Es256, Some(&id), &claims);
            let bench = &bench;
            async move { bench.verify(&token).await }
        });
        for refused in join_all(flood).await {
            assert_eq!(refused, Err(BearerError::UnknownKey));
        }
        assert_eq!(issuer.key_requests(), looks);
        bench.clock.advance(Duration::from_secs(29));
        let late = signer.token(Algorithm::Es256, Some("late"), &claims);
        assert_eq!(bench.verify(&late).await, Err(BearerError::UnknownKey));
        assert_eq!(issuer.key_requests(), looks);
        bench.clock.advance(Duration::from_secs(1));
    }
    assert!(bench.verify(&known).await.is_ok());
}

#[tokio::test]
async fn keys_outlive_the_issuer_for_a_day_and_come_back_with_it() {
    let (signer, next) = (Signer::p256(), Signer::p256());
    let issuer = TestIssuer::http(&[signer.published("k1")]).await;
    let bench = Bench::of(&issuer);
    let now_token =
        |signer: &Signer, id| signer.token(Algorithm::Es256, Some(id), &bench.claims(&issuer));
    assert!(bench.verify(&now_token(&signer, "k1")).await.is_ok());
    issuer.answer_discovery(Answer::Closed);
    // A key that is not there may be published by now: nobody can tell.
    let unknown = now_token(&next, "k2");
    assert_eq!(bench.verify(&unknown).await, Err(BearerError::Unavailable));
    bench
        .clock
        .advance(Duration::from_hours(24) - Duration::from_secs(1));
    assert!(bench.verify(&now_token(&signer, "k1")).await.is_ok());
    bench.clock.advance(Duration::from_secs(1));
    assert_eq!(
        bench.verify(&now_token(&signer, "k1")).await,
        Err(BearerError::Unavailable)
    );
    let discovery =
        json!({"issuer": issuer.address, "jwks_uri": format!("{}/keys", issuer.address)});
    issuer.answer_discovery(Answer::Document(discovery.to_string()));
    bench.clock.advance(HALF_MINUTE);
    assert!(bench.verify(&now_token(&signer, "k1")).await.is_ok());
}

#[tokio::test]
async fn an_issuer_that_is_away_at_the_start_is_asked_again_by_itself() {
    let signer = Signer::p256();
    let issuer = TestIssuer::http(&[signer.published("k1")]).await;
    issuer.answer_keys(Answer::Status(503));
    let bench = Bench::of(&issuer);
    let token = signer.token(Algorithm::Es256, Some("k1"), &bench.claims(&issuer));
    assert_eq!(bench.verify(&token).await, Err(BearerError::Unavailable));
    issuer.publish(&[signer.published("k1")]);
    let seen = issuer.key_requests();
    while issuer.key_requests() == seen {
        bench.clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    bench.clock.advance(HALF_MINUTE);
    let token = signer.token(Algorithm::Es256, Some("k1"), &bench.claims(&issuer));
    assert!(bench.verify(&token).await.is_ok());
}

#[tokio::test]
async fn keys_are_read_again_when_their_time_has_come() {
    let (old, new) = (Signer::p256(), Signer::p256());
    let issuer = TestIssuer::http(&[old.published("old")]).await;
    let bench = Bench::of(&issuer);
    let token = old.token(Algorithm::Es256, Some("old"), &bench.claims(&issuer));
    assert!(bench.verify(&token).await.is_ok());
    issuer.publish(&[new.published("new")]);
    while bench.verify(&token).await.is_ok() {
        // Within the hour nothing is read; no token asks for it.
        if bench.clock.sleepers() > 0 && issuer.key_requests() == 1 {
            bench.clock.advance(Duration::from_hours(1));
        }
        tokio::task::yield_now().await;
    }
    // The first look, the hourly one, and the one that the token then asked for.
    assert!(issuer.key_requests() <= 3, "{}", issuer.key_requests());
}

#[tokio::test]
async fn an_issuer_that_cannot_be_reached_is_trusted_by_a_file() {
    let (signer, next) = (Signer::p256(), Signer::p256());
    let issuer = TestIssuer::http(&[]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    let write = |signer: &Signer, id: &str| {
        let keys = json!({"keys": [signer.published(id)]});
        std::fs::write(&file, keys.to_string()).unwrap();
    };
    write(&signer, "k1");
    let bench = Bench::new(vec![IssuerOptions {
        keys: KeySource::File(file.clone()),
        ..options(&issuer)
    }]);
    let token =
        |signer: &Signer, id| signer.token(Algorithm::Es256, Some(id), &bench.claims(&issuer));
    assert!(bench.verify(&token(&signer, "k1")).await.is_ok());
    write(&next, "k2");
    assert!(bench.verify(&token(&next, "k2")).await.is_ok());
    assert_eq!(
        bench.verify(&token(&signer, "k1")).await,
        Err(BearerError::UnknownKey)
    );
    std::fs::remove_file(&file).unwrap();
    bench.clock.advance(HALF_MINUTE);
    assert_eq!(
        bench.verify(&token(&signer, "k1")).await,
        Err(BearerError::Unavailable)
    );
    assert!(bench.verify(&token(&next, "k2")).await.is_ok());
    assert_eq!(issuer.requests(), 0);
}
