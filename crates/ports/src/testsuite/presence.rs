//! Who is connected where. Device keys are of the test's own, so that a shared directory serves.

use std::sync::Arc;

use downlink_domain::id::{ConnectionId, DeviceKey, GatewayId};
use downlink_domain::presence::{LeaseEpoch, Protocol, Route, Subscriptions};

use crate::{Connected, PresenceDirectory};

type Directory = Arc<dyn PresenceDirectory>;

const DEVICE: DeviceKey = DeviceKey(7);
const OTHER: DeviceKey = DeviceKey(8);

fn gateway(name: &str) -> GatewayId {
    name.parse().unwrap()
}

async fn connect(directory: &Directory, device: DeviceKey, connection: u64) -> Connected {
    let (own, id) = (gateway("gateway-1"), ConnectionId(connection));
    directory
        .connect(device, own, id, Protocol::Mqtt)
        .await
        .unwrap()
}

async fn route_of(directory: &Directory, device: DeviceKey) -> Option<Route> {
    directory.lookup(&[device]).await.unwrap().remove(0)
}

const METHODS: Subscriptions = Subscriptions {
    c2d: false,
    methods: true,
    desired: false,
    twin_replies: false,
};

#[doc(hidden)]
pub async fn a_connection_reads_back_whole_until_it_ends(directory: Directory) {
    let (own, id) = (gateway("gateway-1"), ConnectionId(1));
    let connected = directory
        .connect(DEVICE, own.clone(), id, Protocol::Amqp)
        .await
        .unwrap();
    directory
        .subscribe(DEVICE, connected.epoch, METHODS)
        .await
        .unwrap();
    let expected = Route {
        gateway: own,
        connection: id,
        epoch: connected.epoch,
        protocol: Protocol::Amqp,
        subscriptions: METHODS,
    };
    let found = directory.lookup(&[OTHER, DEVICE]).await.unwrap();
    assert_eq!(found, [None, Some(expected)]);
    assert_eq!(directory.connected_count().await.unwrap(), 1);
    directory
        .disconnect(vec![(DEVICE, connected.epoch)])
        .await
        .unwrap();
    assert_eq!(route_of(&directory, DEVICE).await, None);
    assert_eq!(directory.connected_count().await.unwrap(), 0);
}

#[doc(hidden)]
pub async fn a_second_connection_supersedes_the_first(directory: Directory) {
    let first = connect(&directory, DEVICE, 1).await;
    assert_eq!(first.superseded, None);
    let second = connect(&directory, DEVICE, 2).await;
    assert!(second.epoch > first.epoch);
    let superseded = second.superseded.unwrap();
    assert_eq!(
        (superseded.connection, superseded.epoch),
        (ConnectionId(1), first.epoch)
    );
    assert_eq!(directory.connected_count().await.unwrap(), 1);
}

#[doc(hidden)]
pub async fn a_stale_disconnect_leaves_the_newer_connection_alone(directory: Directory) {
    let first = connect(&directory, DEVICE, 1).await;
    let second = connect(&directory, DEVICE, 2).await;
    directory
        .disconnect(vec![(DEVICE, first.epoch)])
        .await
        .unwrap();
    assert_eq!(
        route_of(&directory, DEVICE).await.unwrap().epoch,
        second.epoch
    );
    // The same goodbye twice in one batch is one goodbye.
    directory
        .disconnect(vec![(DEVICE, second.epoch); 2])
        .await
        .unwrap();
    assert_eq!(route_of(&directory, DEVICE).await, None);
    assert_eq!(directory.connected_count().await.unwrap(), 0);
}

#[doc(hidden)]
pub async fn epochs_rise_across_disconnects(directory: Directory) {
    let mut last = LeaseEpoch(0);
    for connection in 1..4 {
        let epoch = connect(&directory, DEVICE, connection).await.epoch;
        assert!(epoch > last);
        assert!(
            i64::try_from(epoch.0).is_ok(),
            "an epoch fits a signed column"
        );
        directory.disconnect(vec![(DEVICE, epoch)]).await.unwrap();
        last = epoch;
    }
}

#[doc(hidden)]
pub async fn a_subscription_under_a_stale_epoch_is_ignored(directory: Directory) {
    let first = connect(&directory, DEVICE, 1).await;
    connect(&directory, DEVICE, 2).await;
    directory
        .subscribe(DEVICE, first.epoch, METHODS)
        .await
        .unwrap();
    let route = route_of(&directory, DEVICE).await.unwrap();
    assert_eq!(route.subscriptions, Subscriptions::default());
}

#[doc(hidden)]
pub async fn a_watch_sees_each_kind_of_change_that_came_after_it_was_made(directory: Directory) {
    let mut watch = directory.watch(DEVICE).await.unwrap();
    let connected = connect(&directory, DEVICE, 1).await;
    assert_eq!(watch.changed().await.unwrap().epoch, connected.epoch);
    directory
        .subscribe(DEVICE, connected.epoch, METHODS)
        .await
        .unwrap();
    assert_eq!(watch.changed().await.unwrap().subscriptions, METHODS);
    directory
        .disconnect(vec![(DEVICE, connected.epoch)])
        .await
        .unwrap();
    assert_eq!(watch.changed().await, None);
}

#[doc(hidden)]
pub async fn a_watch_passes_over_other_devices(directory: Directory) {
    let mut watch = directory.watch(DEVICE).await.unwrap();
    connect(&directory, OTHER, 1).await;
    let own = connect(&directory, DEVICE, 2).await;
    assert_eq!(watch.changed().await.unwrap().epoch, own.epoch);
}
