//! Who wins when a device connects in many places.

use downlink_domain::id::{ConnectionId, DeviceKey};
use downlink_domain::presence::LeaseEpoch;
use downlink_ports::{GatewayLeases, PresenceDirectory, Restored};
use downlink_stack::Redis;
use futures::future::join_all;

use crate::support::{self, connect, gateway, lease, renew, route, route_of};

const DEVICE: DeviceKey = DeviceKey(7);

async fn exactly_one_wins(options: downlink_presence_redis::RedisOptions) {
    let nodes = [
        support::open(options.clone()).await,
        support::open(options).await,
    ];
    renew(&nodes[0], "gateway-0").await;
    renew(&nodes[1], "gateway-1").await;
    let connected = join_all((0..64).map(|number| {
        let name = format!("gateway-{}", number % 2);
        let node = &nodes[number % 2];
        async move { connect(node, DEVICE, &name, number as u64).await }
    }))
    .await;

    let mut epochs: Vec<_> = connected.iter().map(|connected| connected.epoch).collect();
    epochs.sort_unstable();
    epochs.dedup();
    assert_eq!(epochs.len(), 64, "no epoch is given twice");
    // Each is told of the one before it: so each loser is named once, and one is named by nobody.
    for won in &connected {
        let before = won.superseded.as_ref().map(|route| route.epoch);
        let place = epochs.binary_search(&won.epoch).unwrap();
        assert_eq!(before, place.checked_sub(1).map(|before| epochs[before]));
    }
    for node in &nodes {
        let standing = route_of(node, DEVICE).await.unwrap();
        assert_eq!(standing.epoch, epochs[63]);
    }
}

#[tokio::test]
async fn of_64_connects_at_once_exactly_one_wins_and_each_loser_is_named_once() {
    exactly_one_wins(support::single()).await;
}

#[tokio::test]
async fn of_64_connects_at_once_exactly_one_wins_in_a_cluster() {
    exactly_one_wins(support::cluster()).await;
}

#[tokio::test]
async fn an_entry_written_again_loses_to_a_newer_one_and_wins_over_one_of_a_dead_gateway() {
    let presence = support::open(support::single()).await;
    renew(&presence, "alive").await;
    renew(&presence, "dead").await;
    let devices = [DeviceKey(1), DeviceKey(2), DeviceKey(3)];
    let own = route("alive", 1, 1000);
    connect(&presence, devices[0], "alive", 2).await;
    connect(&presence, devices[1], "dead", 2).await;
    presence.release(&gateway("dead")).await.unwrap();
    let entries = devices.iter().map(|device| (*device, own.clone()));
    let restored = presence.restore(entries.collect()).await.unwrap();
    assert_eq!(
        restored,
        [Restored::Superseded, Restored::Stands, Restored::Stands]
    );
    let found = presence.lookup(&devices).await.unwrap();
    assert_eq!(found[0].as_ref().unwrap().connection, ConnectionId(2));
    assert_eq!(found[1..], [Some(own.clone()), Some(own)]);
}

#[tokio::test]
async fn an_epoch_that_the_scripts_cannot_count_with_is_refused_alone() {
    let presence = support::open(support::single()).await;
    renew(&presence, "gateway").await;
    let entries = vec![
        (DeviceKey(1), route("gateway", 1, u64::MAX)),
        (DeviceKey(2), route("gateway", 1, 5)),
    ];
    let restored = presence.restore(entries).await.unwrap();
    assert_eq!(restored, [Restored::Superseded, Restored::Stands]);
    assert_eq!(route_of(&presence, DeviceKey(1)).await, None);
}

#[tokio::test]
async fn an_epoch_lies_above_what_this_process_has_seen_whatever_the_clock_says() {
    let presence = support::open(support::single()).await;
    renew(&presence, "gateway").await;
    // As if it had been given before the server's clock was set back by years.
    let ahead = (1 << 52) + 5;
    let entries = vec![(DEVICE, route("gateway", 1, ahead))];
    presence.restore(entries).await.unwrap();
    presence
        .disconnect(vec![(DEVICE, LeaseEpoch(ahead))])
        .await
        .unwrap();
    let connected = connect(&presence, DEVICE, "gateway", 2).await;
    assert_eq!(connected.superseded, None);
    assert!(connected.epoch.0 > ahead);
}

#[tokio::test]
async fn connections_are_counted_through_takeovers_of_two_gateways() {
    let options = support::single();
    let (one, two) = (
        support::open(options.clone()).await,
        support::open(options).await,
    );
    renew(&one, "gateway-1").await;
    renew(&one, "gateway-2").await;
    let first = connect(&one, DeviceKey(1), "gateway-1", 1).await;
    connect(&one, DeviceKey(2), "gateway-1", 2).await;
    let second = connect(&one, DeviceKey(1), "gateway-2", 3).await;
    let stale = vec![(DeviceKey(1), first.epoch)];
    one.disconnect(stale).await.unwrap();
    assert_eq!(one.connected_count().await.unwrap(), 2);
    // Others know what was last said.
    assert_eq!(two.connected_count().await.unwrap(), 0);
    let mut said = lease("gateway-1");
    said.connections = 1;
    one.renew(said.clone(), support::LEASE).await.unwrap();
    said.gateway = gateway("gateway-2");
    one.renew(said, support::LEASE).await.unwrap();
    assert_eq!(two.connected_count().await.unwrap(), 2);
    let gone = vec![(DeviceKey(1), second.epoch)];
    one.disconnect(gone).await.unwrap();
    assert_eq!(one.connected_count().await.unwrap(), 1);
    one.release(&gateway("gateway-1")).await.unwrap();
    assert_eq!(one.connected_count().await.unwrap(), 0);
}

#[tokio::test]
async fn what_is_no_entry_reads_as_absent_and_a_connect_takes_its_place() {
    let options = support::single();
    let key = format!("{}:{{7}}", options.key_prefix);
    let presence = support::open(options).await;
    renew(&presence, "gateway").await;
    let other = connect(&presence, DeviceKey(8), "gateway", 1).await;
    let url = Redis::shared().url();
    support::tell(&url, &["SET", &key, "1 2 by-a-later-version"]).await;
    let found = presence.lookup(&[DEVICE, DeviceKey(8)]).await.unwrap();
    assert_eq!(found[0], None);
    assert_eq!(found[1].as_ref().unwrap().epoch, other.epoch);
    let connected = connect(&presence, DEVICE, "gateway", 2).await;
    assert_eq!(connected.superseded, None);
    let standing = route_of(&presence, DEVICE).await.unwrap();
    assert_eq!(standing.epoch, connected.epoch);
}
