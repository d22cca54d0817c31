//! Servers that forget, stall and go away.

use std::time::{Duration, Instant};

use downlink_domain::id::DeviceKey;
use downlink_ports::{LeaseState, PresenceDirectory, StoreError};
use downlink_stack::{Redis, Signal};

use crate::support::{self, connect, eventually, renew, renew_when_back, route_of, tell};

const DEVICE: DeviceKey = DeviceKey(7);

#[tokio::test]
async fn scripts_that_the_server_forgot_are_loaded_again() {
    let redis = Redis::start();
    let presence = support::open(support::on(&redis)).await;
    renew(&presence, "gateway").await;
    tell(&redis.url(), &["SCRIPT", "FLUSH"]).await;
    let connected = connect(&presence, DEVICE, "gateway", 1).await;
    tell(&redis.url(), &["SCRIPT", "FLUSH"]).await;
    // One of them must not be carried out twice.
    let gone = vec![(DEVICE, connected.epoch); 3];
    presence.disconnect(gone).await.unwrap();
    assert_eq!(presence.connected_count().await.unwrap(), 0);
    assert_eq!(route_of(&presence, DEVICE).await, None);
}

#[tokio::test]
async fn a_server_that_stands_still_costs_one_timeout_and_then_nothing() {
    let redis = Redis::start();
    let mut options = support::on(&redis);
    options.call_timeout = Duration::from_secs(1);
    let presence = support::open(options).await;
    assert_eq!(renew(&presence, "gateway").await, LeaseState::Anew);
    let connected = connect(&presence, DEVICE, "gateway", 1).await;
    redis.process().signal(Signal::Stop).unwrap();
    let began = Instant::now();
    let failed = presence.lookup(&[DEVICE]).await.unwrap_err();
    assert!(matches!(failed, StoreError::Unavailable(_)), "{failed}");
    assert!(began.elapsed() < Duration::from_secs(3));
    // Now it is known: nobody waits, nothing piles up.
    let began = Instant::now();
    for device in 0..10_000 {
        let failed = presence.lookup(&[DeviceKey(device)]).await.unwrap_err();
        assert!(matches!(failed, StoreError::Unavailable(_)), "{failed}");
    }
    assert!(began.elapsed() < Duration::from_secs(3));
    assert!(presence.ping().await.is_err());
    redis.process().signal(Signal::Cont).unwrap();
    // It is the same server with the same entries.
    assert_eq!(
        renew_when_back(&presence, "gateway").await,
        LeaseState::Kept
    );
    assert_eq!(
        route_of(&presence, DEVICE).await.unwrap().epoch,
        connected.epoch
    );
    presence.ping().await.unwrap();
}

#[tokio::test]
async fn calls_fail_at_once_while_the_server_is_away_and_work_when_it_is_back() {
    let redis = Redis::start();
    let presence = support::open(support::on(&redis)).await;
    renew(&presence, "gateway").await;
    redis.kill();
    let failed = presence.lookup(&[DEVICE]).await.unwrap_err();
    assert!(matches!(failed, StoreError::Unavailable(_)), "{failed}");
    let began = Instant::now();
    for device in 0..1000 {
        presence.watch(DeviceKey(device)).await.err().unwrap();
        presence.lookup(&[DeviceKey(device)]).await.unwrap_err();
    }
    assert!(began.elapsed() < Duration::from_secs(3));
    assert_eq!(
        presence.watch_counts(),
        (0, 0),
        "a failed watch takes no place"
    );
    redis.start_again();
    let began = Instant::now();
    renew_when_back(&presence, "gateway").await;
    println!("back after {:?}", began.elapsed());
    connect(&presence, DEVICE, "gateway", 1).await;
}

#[tokio::test]
async fn an_idle_connection_that_breaks_is_made_again_before_anybody_asks() {
    let redis = Redis::start();
    let presence = support::open(support::on(&redis)).await;
    tell(
        &redis.url(),
        &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"],
    )
    .await;
    eventually("connect again", async || presence.ping().await.ok()).await;
}
