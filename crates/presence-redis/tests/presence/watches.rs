//! Watches: their bound, their end, and what they survive.

use std::time::{Duration, Instant};

use downlink_domain::id::DeviceKey;
use downlink_ports::{PresenceDirectory, StoreError};
use downlink_presence_redis::{RedisOptions, Topology};
use downlink_stack::{Redis, RedisCluster};
use futures::future::join_all;

use crate::support::{self, connect, eventually, renew, renew_when_back, route_of, soon, tell};

const DEVICE: DeviceKey = DeviceKey(7);

#[tokio::test]
async fn watches_beyond_the_bound_are_refused_until_one_is_dropped() {
    let mut options = support::single();
    options.max_watches = 3;
    let presence = support::open(options).await;
    let mut watches: Vec<_> = join_all((0..3).map(|_| presence.watch(DEVICE)))
        .await
        .into_iter()
        .map(Result::unwrap)
        .collect();
    let refused = presence.watch(DEVICE).await.err();
    assert_eq!(refused, Some(StoreError::Overloaded));
    watches.pop();
    assert_eq!(presence.watch_counts(), (2, 1));
    presence.watch(DEVICE).await.unwrap();
}

#[tokio::test]
async fn a_dropped_watch_leaves_its_channel() {
    let options = support::single();
    let pattern = format!("{}:*", options.key_prefix);
    let presence = support::open(options).await;
    let channels = async || match tell(
        &Redis::shared().url(),
        &["PUBSUB", "SHARDCHANNELS", &pattern],
    )
    .await
    {
        redis::Value::Array(channels) => channels.len(),
        other => panic!("{other:?}"),
    };
    let first = presence.watch(DEVICE).await.unwrap();
    let second = presence.watch(DEVICE).await.unwrap();
    let other = presence.watch(DeviceKey(8)).await.unwrap();
    assert_eq!(channels().await, 2);
    drop((first, other));
    eventually("leave one channel", async || {
        (channels().await == 1).then_some(())
    })
    .await;
    drop(second);
    eventually("leave both channels", async || {
        (channels().await == 0).then_some(())
    })
    .await;
    assert_eq!(presence.watch_counts(), (0, 0));
}

#[tokio::test]
async fn a_watch_is_told_by_another_process() {
    let options = support::single();
    let (own, other) = (
        support::open(options.clone()).await,
        support::open(options).await,
    );
    renew(&own, "gateway").await;
    let mut watch = other.watch(DEVICE).await.unwrap();
    let connected = connect(&own, DEVICE, "gateway", 1).await;
    let told = soon("the change", watch.changed()).await.unwrap();
    assert_eq!(told.epoch, connected.epoch);
}

async fn changes_are_told_at_once(options: RedisOptions) {
    const CHANGES: u32 = 20;
    let presence = support::open(options).await;
    renew(&presence, "gateway").await;
    let mut watch = presence.watch(DEVICE).await.unwrap();
    let began = Instant::now();
    for number in 0..CHANGES {
        let connected = connect(&presence, DEVICE, "gateway", number.into()).await;
        let told = soon("the change", watch.changed()).await.unwrap();
        assert_eq!(told.epoch, connected.epoch);
    }
    // Found by the look-ups of every second alone, they would take half a second each.
    assert!(began.elapsed() < Duration::from_millis(250) * CHANGES);
}

#[tokio::test]
async fn changes_are_told_at_once_and_not_by_the_next_look() {
    changes_are_told_at_once(support::single()).await;
    changes_are_told_at_once(support::sentinel()).await;
    changes_are_told_at_once(support::cluster()).await;
}

#[tokio::test]
async fn a_watch_survives_the_end_of_its_connection() {
    let redis = Redis::start();
    let presence = support::open(support::on(&redis)).await;
    renew(&presence, "gateway").await;
    let mut watch = presence.watch(DEVICE).await.unwrap();
    tell(&redis.url(), &["CLIENT", "KILL", "TYPE", "pubsub"]).await;
    let connected = connect(&presence, DEVICE, "gateway", 1).await;
    let told = soon("the change", watch.changed()).await.unwrap();
    assert_eq!(told.epoch, connected.epoch);
    presence
        .disconnect(vec![(DEVICE, connected.epoch)])
        .await
        .unwrap();
    assert_eq!(soon("the end", watch.changed()).await, None);
}

#[tokio::test]
async fn a_watch_survives_a_restart_of_the_server() {
    let redis = Redis::start();
    let presence = support::open(support::on(&redis)).await;
    renew(&presence, "gateway").await;
    let mut watch = presence.watch(DEVICE).await.unwrap();
    redis.kill();
    redis.start_again();
    renew_when_back(&presence, "gateway").await;
    let connected = connect(&presence, DEVICE, "gateway", 1).await;
    let told = soon("the change", watch.changed()).await.unwrap();
    assert_eq!(told.epoch, connected.epoch);
}

#[tokio::test]
async fn a_watch_and_its_entry_follow_a_slot_that_moves() {
    let cluster = RedisCluster::start();
    let urls = cluster.urls();
    let options = support::options(Topology::Cluster { urls: urls.clone() });
    let presence = support::open(options).await;
    renew(&presence, "gateway").await;
    // The slot of DEVICE, and who is who.
    let slot = match tell(&urls[0], &["CLUSTER", "KEYSLOT", "{7}"]).await {
        redis::Value::Int(slot) => slot,
        other => panic!("{other:?}"),
    };
    let source = usize::from(slot > 5460) + usize::from(slot > 10_922);
    let target = (source + 1) % 3;
    let mut names = Vec::new();
    for url in &urls {
        let name: String = redis::from_redis_value(tell(url, &["CLUSTER", "MYID"]).await).unwrap();
        names.push(name);
    }
    let mut watch = presence.watch(DEVICE).await.unwrap();
    let slot = slot.to_string();
    let set_slot = async |at: usize, what: &str, node: &str| {
        tell(&urls[at], &["CLUSTER", "SETSLOT", &slot, what, node]).await;
    };
    set_slot(target, "IMPORTING", &names[source]).await;
    set_slot(source, "MIGRATING", &names[target]).await;
    // While the slot moves, a key that is not there any more is at its new place.
    let first = connect(&presence, DEVICE, "gateway", 1).await;
    assert_eq!(
        route_of(&presence, DEVICE).await.unwrap().epoch,
        first.epoch
    );
    set_slot(target, "NODE", &names[target]).await;
    set_slot(source, "NODE", &names[target]).await;
    set_slot(3 - source - target, "NODE", &names[target]).await;
    assert_eq!(
        route_of(&presence, DEVICE).await.unwrap().epoch,
        first.epoch
    );
    let second = connect(&presence, DEVICE, "gateway", 2).await;
    assert_eq!(second.superseded.unwrap().epoch, first.epoch);
    loop {
        let told = soon("the change", watch.changed()).await;
        if told.is_some_and(|route| route.epoch == second.epoch) {
            break;
        }
    }
}
