//! A master of a cluster that ends, and the replica that takes its place.

use std::time::Instant;

use downlink_domain::id::DeviceKey;
use downlink_ports::{LeaseState, PresenceDirectory, Restored};
use downlink_presence_redis::Topology;
use downlink_stack::{Program, RedisCluster, Signal, Supervised};
use redis::Value;

use crate::support::{
    self, connect, eventually, renew, renew_when_back, route_of, soon, tell, try_tell,
};

/// Starts a replica of the server at `master`.
async fn start_replica(master: &str) -> Supervised {
    let folder = tempfile::tempdir().unwrap().keep();
    let (port, bus) = (
        support::free_port().to_string(),
        support::free_port().to_string(),
    );
    let words = [
        "redis-server",
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--port",
    ]
    .into_iter()
    .chain([&*port, "--cluster-port", &bus, "--cluster-enabled", "yes"])
    .chain(["--cluster-node-timeout", "2000", "--dir"])
    .map(Into::into)
    .chain([folder.clone().into()]);
    let replica = Supervised::start(Program {
        name: "redis".to_owned(),
        words: words.collect(),
        environment: Vec::new(),
        log: folder.join("log"),
        folder: Some(folder),
        ending: Signal::Kill,
    })
    .unwrap();
    let url = format!("redis://127.0.0.1:{port}");
    eventually("reach the replica", async || {
        try_tell(&url, &["PING"]).await
    })
    .await;
    tell(master, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await;
    let id: String = redis::from_redis_value(tell(master, &["CLUSTER", "MYID"]).await).unwrap();
    eventually("make it a replica", async || {
        try_tell(&url, &["CLUSTER", "REPLICATE", &id]).await
    })
    .await;
    eventually("fill the replica", async || {
        let info: String =
            redis::from_redis_value(tell(&url, &["INFO", "replication"]).await).unwrap();
        info.contains("master_link_status:up").then_some(())
    })
    .await;
    replica
}

/// The place of the master that holds a key.
async fn holder(url: &str, key: &str) -> usize {
    match tell(url, &["CLUSTER", "KEYSLOT", key]).await {
        Value::Int(slot) => usize::from(slot > 5460) + usize::from(slot > 10_922),
        other => panic!("{other:?}"),
    }
}

/// A device whose route the master at `place` holds.
async fn device_at(url: &str, place: usize) -> DeviceKey {
    for device in 0.. {
        if holder(url, &format!("{{{device}}}")).await == place {
            return DeviceKey(device);
        }
    }
    unreachable!("every master holds some")
}

#[tokio::test]
async fn while_a_master_of_a_cluster_is_away_the_others_serve_and_its_replica_takes_over() {
    let cluster = RedisCluster::start();
    let urls = cluster.urls();
    for url in &urls {
        tell(
            url,
            &["CONFIG", "SET", "cluster-require-full-coverage", "no"],
        )
        .await;
    }
    // The leases stay where they are; another master ends.
    let stays = holder(&urls[0], "{leases}").await;
    let ends = (stays + 1) % 3;
    let _replica = start_replica(&urls[ends]).await;
    let (near, far) = (
        device_at(&urls[0], stays).await,
        device_at(&urls[0], ends).await,
    );
    let seeds = vec![urls[ends].clone(), urls[stays].clone()];
    let presence = support::open(support::options(Topology::Cluster { urls: seeds })).await;
    assert_eq!(renew(&presence, "gateway").await, LeaseState::Anew);
    connect(&presence, near, "gateway", 1).await;
    let first = connect(&presence, far, "gateway", 2).await;
    let held = route_of(&presence, far).await.unwrap();
    let mut near_watch = presence.watch(near).await.unwrap();
    let mut far_watch = presence.watch(far).await.unwrap();
    assert_eq!(renew(&presence, "gateway").await, LeaseState::Kept);

    try_tell(&urls[ends], &["SHUTDOWN", "NOSAVE", "NOW", "FORCE"]).await;
    presence.lookup(&[far]).await.unwrap_err();
    let began = Instant::now();
    let second = connect(&presence, near, "gateway", 3).await;
    let told = soon("the change", near_watch.changed()).await.unwrap();
    assert_eq!(told.epoch, second.epoch);

    let state = renew_when_back(&presence, "gateway").await;
    println!(
        "fail-over of a cluster followed after {:?}",
        began.elapsed()
    );
    assert_eq!(state, LeaseState::Anew);
    let restored = presence.restore(vec![(far, held)]).await.unwrap();
    assert_eq!(restored, [Restored::Stands]);
    assert_eq!(renew(&presence, "gateway").await, LeaseState::Kept);
    let third = connect(&presence, far, "gateway", 4).await;
    assert!(third.epoch > first.epoch);
    loop {
        let told = soon("the change", far_watch.changed()).await;
        if told.is_some_and(|route| route.epoch == third.epoch) {
            break;
        }
    }
}
