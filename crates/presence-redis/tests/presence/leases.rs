//! What a lapsed lease, an emptied or a new server mean for entries.

use std::time::{Duration, Instant};

use downlink_domain::id::DeviceKey;
use downlink_ports::{GatewayLeases, LeaseState, PresenceDirectory, Restored};
use downlink_presence_redis::{RedisPresence, Topology};
use downlink_stack::{Redis, RedisCluster, RedisSentinel};
use tokio::time::interval;

use crate::support::{
    self, connect, gateway, lease, renew, renew_when_back, route, route_of, soon, tell,
};

const DEVICE: DeviceKey = DeviceKey(7);

#[tokio::test]
async fn an_entry_whose_lease_has_lapsed_reads_as_absent_until_it_is_taken_again() {
    let options = support::single();
    let (own, other) = (
        support::open(options.clone()).await,
        support::open(options).await,
    );
    let ttl = Duration::from_millis(1500);
    own.renew(lease("gateway"), ttl).await.unwrap();
    let connected = connect(&own, DEVICE, "gateway", 1).await;
    let mut watch = other.watch(DEVICE).await.unwrap();
    assert!(route_of(&other, DEVICE).await.is_some());
    // The lapse itself is told to nobody.
    assert_eq!(soon("the lapse", watch.changed()).await, None);
    for presence in [&own, &other] {
        assert_eq!(route_of(presence, DEVICE).await, None);
        assert_eq!(presence.connected_count().await.unwrap(), 0);
        assert_eq!(presence.gateways().await.unwrap(), []);
    }
    assert_eq!(renew(&own, "gateway").await, LeaseState::Anew);
    let back = soon("the route", watch.changed()).await.unwrap();
    assert_eq!(back.epoch, connected.epoch);
    assert!(route_of(&other, DEVICE).await.is_some());
}

#[tokio::test]
async fn an_entry_whose_gateway_has_gone_supersedes_nobody() {
    let presence = support::open(support::single()).await;
    renew(&presence, "gateway-1").await;
    renew(&presence, "gateway-2").await;
    let first = connect(&presence, DEVICE, "gateway-1", 1).await;
    presence.release(&gateway("gateway-1")).await.unwrap();
    assert_eq!(route_of(&presence, DEVICE).await, None);
    let second = connect(&presence, DEVICE, "gateway-2", 2).await;
    assert_eq!(second.superseded, None);
    assert!(second.epoch > first.epoch);
}

#[tokio::test]
async fn a_release_is_seen_by_other_processes() {
    let options = support::single();
    let (own, other) = (
        support::open(options.clone()).await,
        support::open(options).await,
    );
    renew(&own, "gateway").await;
    connect(&own, DEVICE, "gateway", 1).await;
    assert!(route_of(&other, DEVICE).await.is_some());
    let mut watch = other.watch(DEVICE).await.unwrap();
    own.release(&gateway("gateway")).await.unwrap();
    assert_eq!(soon("the end", watch.changed()).await, None);
}

/// Writes entries again in batches, so many a second.
async fn restore_paced(presence: &RedisPresence, count: usize, a_second: usize) -> Duration {
    const BATCH: usize = 1000;
    let began = Instant::now();
    let mut pace = interval(
        Duration::from_secs(1) * u32::try_from(BATCH).unwrap() / u32::try_from(a_second).unwrap(),
    );
    for first in (0..count).step_by(BATCH) {
        pace.tick().await;
        let entries = (first..count.min(first + BATCH)).map(|number| {
            let key = DeviceKey(i64::try_from(number).unwrap());
            (key, route("gateway", number as u64, 1000))
        });
        let restored = presence.restore(entries.collect()).await.unwrap();
        assert!(restored.iter().all(|one| *one == Restored::Stands));
    }
    began.elapsed()
}

#[tokio::test]
async fn after_a_flush_100_000_entries_are_written_again_within_10_seconds() {
    const COUNT: usize = 100_000;
    let redis = Redis::start();
    let mut options = support::on(&redis);
    options.call_timeout = Duration::from_secs(10);
    let presence = support::open(options).await;
    renew(&presence, "gateway").await;
    restore_paced(&presence, COUNT, COUNT).await;
    redis.flush_all();
    let began = Instant::now();
    assert_eq!(renew(&presence, "gateway").await, LeaseState::Anew);
    let pure = restore_paced(&presence, COUNT, 50_000).await;
    let took = began.elapsed();
    println!("{COUNT} entries written again in {took:?} ({pure:?} of it paced at 50,000 a second)");
    assert!(took < Duration::from_secs(10));
    assert_eq!(renew(&presence, "gateway").await, LeaseState::Kept);
    let devices: Vec<_> = (0..COUNT)
        .map(|n| DeviceKey(i64::try_from(n).unwrap()))
        .collect();
    let found = presence.lookup(&devices).await.unwrap();
    assert_eq!(found.iter().flatten().count(), COUNT);
}

#[tokio::test]
async fn a_loss_is_told_again_when_its_first_telling_was_lost() {
    let redis = Redis::start();
    let presence = support::open(support::on(&redis)).await;
    renew(&presence, "gateway").await;
    assert_eq!(renew(&presence, "gateway").await, LeaseState::Kept);
    redis.flush_all();
    tell(&redis.url(), &["CLIENT", "PAUSE", "500"]).await;
    let unheard = presence.renew(lease("gateway"), support::LEASE);
    let unheard = tokio::time::timeout(Duration::from_millis(100), unheard).await;
    assert!(unheard.is_err(), "the server answers while it pauses");
    assert_eq!(renew(&presence, "gateway").await, LeaseState::Anew);
    assert_eq!(renew(&presence, "gateway").await, LeaseState::Kept);
}

#[tokio::test]
async fn a_renewal_that_was_not_heard_of_is_no_loss() {
    let redis = Redis::start();
    let presence = support::open(support::on(&redis)).await;
    renew(&presence, "gateway").await;
    tell(&redis.url(), &["CLIENT", "PAUSE", "500"]).await;
    let unheard = presence.renew(lease("gateway"), support::LEASE);
    let unheard = tokio::time::timeout(Duration::from_millis(100), unheard).await;
    assert!(unheard.is_err(), "the server answers while it pauses");
    assert_eq!(renew(&presence, "gateway").await, LeaseState::Kept);
}

#[tokio::test]
async fn a_lapse_is_told_again_when_its_first_telling_was_lost() {
    let redis = Redis::start();
    let presence = support::open(support::on(&redis)).await;
    let ttl = Duration::from_millis(300);
    presence.renew(lease("gateway"), ttl).await.unwrap();
    tokio::time::sleep(ttl * 2).await;
    tell(&redis.url(), &["CLIENT", "PAUSE", "500"]).await;
    let unheard = presence.renew(lease("gateway"), support::LEASE);
    let unheard = tokio::time::timeout(Duration::from_millis(100), unheard).await;
    assert!(unheard.is_err(), "the server answers while it pauses");
    assert_eq!(renew(&presence, "gateway").await, LeaseState::Anew);
}

#[tokio::test]
async fn one_emptied_master_of_a_cluster_is_noticed() {
    let cluster = RedisCluster::start();
    let urls = cluster.urls();
    let presence = support::open(support::options(Topology::Cluster { urls: urls.clone() })).await;
    renew(&presence, "gateway").await;
    for url in &urls {
        assert_eq!(renew(&presence, "gateway").await, LeaseState::Kept);
        tell(url, &["FLUSHALL"]).await;
        assert_eq!(renew(&presence, "gateway").await, LeaseState::Anew);
    }
    assert_eq!(renew(&presence, "gateway").await, LeaseState::Kept);
}

#[tokio::test]
async fn a_server_that_was_started_again_may_have_lost_entries() {
    let redis = Redis::start();
    let presence = support::open(support::on(&redis)).await;
    renew(&presence, "gateway").await;
    assert_eq!(renew(&presence, "gateway").await, LeaseState::Kept);
    let before = connect(&presence, DEVICE, "gateway", 1).await;
    redis.kill();
    redis.start_again();
    // Lease and entry are there: this server keeps its data. One that does not looks the same.
    assert_eq!(
        renew_when_back(&presence, "gateway").await,
        LeaseState::Anew
    );
    assert_eq!(renew(&presence, "gateway").await, LeaseState::Kept);
    let after = connect(&presence, DEVICE, "gateway", 2).await;
    assert!(after.epoch > before.epoch);
}

#[tokio::test]
async fn a_fail_over_is_followed_and_the_new_master_may_lack_entries() {
    let servers = RedisSentinel::start();
    let presence = support::open(support::watched_by(&servers)).await;
    renew(&presence, "gateway").await;
    let connected = connect(&presence, DEVICE, "gateway", 1).await;
    let held = route_of(&presence, DEVICE).await.unwrap();
    let mut watch = presence.watch(DEVICE).await.unwrap();
    assert_eq!(renew(&presence, "gateway").await, LeaseState::Kept);
    servers.kill_master();
    let began = Instant::now();
    assert_eq!(
        renew_when_back(&presence, "gateway").await,
        LeaseState::Anew
    );
    println!("fail-over followed after {:?}", began.elapsed());
    let restored = presence.restore(vec![(DEVICE, held)]).await.unwrap();
    assert_eq!(restored, [Restored::Stands]);
    assert_eq!(renew(&presence, "gateway").await, LeaseState::Kept);
    let second = connect(&presence, DEVICE, "gateway", 2).await;
    assert!(second.epoch > connected.epoch);
    // The watch has moved to the new master too.
    loop {
        let told = soon("the change", watch.changed()).await;
        if told.is_some_and(|route| route.epoch == second.epoch) {
            break;
        }
    }
}

#[tokio::test]
async fn entries_expire_unless_they_are_written_again() {
    let options = support::single();
    let (key, ttl) = (
        format!("{}:{{7}}", options.key_prefix),
        options.route_ttl.as_millis(),
    );
    let presence = support::open(options).await;
    renew(&presence, "gateway").await;
    connect(&presence, DEVICE, "gateway", 1).await;
    let held = route_of(&presence, DEVICE).await.unwrap();
    let url = Redis::shared().url();
    let left = async || match tell(&url, &["PTTL", &key]).await {
        redis::Value::Int(left) => u128::try_from(left).unwrap(),
        other => panic!("{other:?}"),
    };
    let minute = 60_000;
    assert!((ttl - minute..=ttl).contains(&left().await));
    tell(&url, &["PEXPIRE", &key, "1000000"]).await;
    presence.restore(vec![(DEVICE, held)]).await.unwrap();
    assert!((ttl - minute..=ttl).contains(&left().await));
}
