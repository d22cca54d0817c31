//! Who is connected where, and which gateways are alive.

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::id::{ConnectionId, DeviceKey, GatewayId};
use downlink_domain::presence::{LeaseEpoch, Protocol, Route, Subscriptions};

use crate::{
    Connected, GatewayLease, GatewayLeases, LeaseState, PollThrottle, PresenceDirectory,
    RateShares, Restored, StoreError,
};

/// A directory with the leases of its gateways, both empty. Devices and gateways are the test's
/// own, so that one server may serve many subjects.
#[derive(Clone)]
pub struct Presence {
    /// Who is connected where.
    pub directory: Arc<dyn PresenceDirectory>,
    /// Which gateways are alive.
    pub leases: Arc<dyn GatewayLeases>,
    /// How often devices may poll.
    pub polls: Arc<dyn PollThrottle>,
    /// What gateways want of rates.
    pub rates: Arc<dyn RateShares>,
}

impl Presence {
    /// The subject of an adapter that is all of it.
    pub fn of<P>(presence: Arc<P>) -> Self
    where
        P: PresenceDirectory + GatewayLeases + PollThrottle + RateShares + 'static,
    {
        Self {
            directory: Arc::clone(&presence) as _,
            leases: Arc::clone(&presence) as _,
            polls: Arc::clone(&presence) as _,
            rates: presence,
        }
    }
}

type Directory = Arc<dyn PresenceDirectory>;

const DEVICE: DeviceKey = DeviceKey(7);
const OTHER: DeviceKey = DeviceKey(8);
/// Longer than any test.
const LEASE: Duration = Duration::from_mins(2);

fn gateway(name: &str) -> GatewayId {
    name.parse().unwrap()
}

fn lease(name: &str) -> GatewayLease {
    GatewayLease {
        gateway: gateway(name),
        address: format!("{name}.internal:7070"),
        connections: 0,
    }
}

async fn renew(presence: &Presence, name: &str) -> Result<LeaseState, StoreError> {
    presence.leases.renew(lease(name), LEASE).await
}

/// The directory, once the gateway that [`connect`] names has its lease.
async fn open(presence: &Presence) -> Directory {
    renew(presence, "gateway-1").await.unwrap();
    Arc::clone(&presence.directory)
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
pub async fn a_connection_reads_back_whole_until_it_ends(presence: Presence) {
    let directory = open(&presence).await;
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
pub async fn a_second_connection_supersedes_the_first(presence: Presence) {
    let directory = open(&presence).await;
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
pub async fn a_stale_disconnect_leaves_the_newer_connection_alone(presence: Presence) {
    let directory = open(&presence).await;
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
pub async fn epochs_rise_across_disconnects(presence: Presence) {
    let directory = open(&presence).await;
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
pub async fn a_subscription_under_a_stale_epoch_is_ignored(presence: Presence) {
    let directory = open(&presence).await;
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
pub async fn a_watch_sees_each_kind_of_change_that_came_after_it_was_made(presence: Presence) {
    let directory = open(&presence).await;
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
pub async fn a_watch_passes_over_other_devices(presence: Presence) {
    let directory = open(&presence).await;
    let mut watch = directory.watch(DEVICE).await.unwrap();
    connect(&directory, OTHER, 1).await;
    let own = connect(&directory, DEVICE, 2).await;
    assert_eq!(watch.changed().await.unwrap().epoch, own.epoch);
}

#[doc(hidden)]
pub async fn a_lease_is_anew_when_taken_and_kept_when_renewed(presence: Presence) {
    assert_eq!(renew(&presence, "gateway-1").await, Ok(LeaseState::Anew));
    assert_eq!(renew(&presence, "gateway-1").await, Ok(LeaseState::Kept));
    assert_eq!(renew(&presence, "gateway-2").await, Ok(LeaseState::Anew));
    assert_eq!(renew(&presence, "gateway-1").await, Ok(LeaseState::Kept));
    let released = gateway("gateway-1");
    presence.leases.release(&released).await.unwrap();
    assert_eq!(renew(&presence, "gateway-1").await, Ok(LeaseState::Anew));
}

#[doc(hidden)]
pub async fn gateways_are_those_that_hold_a_lease(presence: Presence) {
    assert_eq!(presence.leases.gateways().await.unwrap(), []);
    renew(&presence, "gateway-1").await.unwrap();
    let second = GatewayLease {
        connections: 17,
        address: String::new(),
        ..lease("gateway-2")
    };
    presence.leases.renew(second.clone(), LEASE).await.unwrap();
    let mut held = presence.leases.gateways().await.unwrap();
    held.sort_by(|one, other| one.gateway.cmp(&other.gateway));
    assert_eq!(held, [lease("gateway-1"), second.clone()]);
    let released = gateway("gateway-1");
    presence.leases.release(&released).await.unwrap();
    // Giving back what is not held changes nothing.
    presence.leases.release(&released).await.unwrap();
    assert_eq!(presence.leases.gateways().await.unwrap(), [second]);
}

#[doc(hidden)]
pub async fn an_entry_written_again_stands_unless_a_newer_one_does(presence: Presence) {
    let directory = open(&presence).await;
    let first = connect(&directory, DEVICE, 1).await;
    let old = route_of(&directory, DEVICE).await.unwrap();
    directory
        .disconnect(vec![(DEVICE, first.epoch)])
        .await
        .unwrap();

    let again = Route {
        subscriptions: METHODS,
        ..old.clone()
    };
    let restored = directory.restore(vec![(DEVICE, again.clone())]).await;
    assert_eq!(restored.unwrap(), [Restored::Stands]);
    assert_eq!(route_of(&directory, DEVICE).await, Some(again.clone()));
    // What is there is left as it is.
    let restored = directory.restore(vec![(DEVICE, old)]).await.unwrap();
    assert_eq!(restored, [Restored::Stands]);
    assert_eq!(route_of(&directory, DEVICE).await, Some(again.clone()));

    renew(&presence, "gateway-2").await.unwrap();
    let (second, id) = (gateway("gateway-2"), ConnectionId(2));
    let newer = directory
        .connect(DEVICE, second, id, Protocol::Mqtt)
        .await
        .unwrap();
    assert_eq!(newer.superseded, Some(again.clone()));
    let restored = directory.restore(vec![(DEVICE, again)]).await.unwrap();
    assert_eq!(restored, [Restored::Superseded]);
    let standing = route_of(&directory, DEVICE).await.unwrap();
    assert_eq!((standing.connection, standing.epoch), (id, newer.epoch));
}

#[doc(hidden)]
pub async fn a_connect_after_entries_were_written_again_is_the_newer(presence: Presence) {
    let directory = open(&presence).await;
    let first = connect(&directory, DEVICE, 1).await;
    let route = route_of(&directory, DEVICE).await.unwrap();
    directory
        .disconnect(vec![(DEVICE, first.epoch)])
        .await
        .unwrap();
    let restored = directory.restore(vec![(DEVICE, route.clone())]).await;
    assert_eq!(restored.unwrap(), [Restored::Stands]);
    let second = connect(&directory, DEVICE, 2).await;
    assert!(second.epoch > first.epoch);
    assert_eq!(second.superseded, Some(route));
}

#[doc(hidden)]
pub async fn large_batches_are_answered_by_position(presence: Presence) {
    const COUNT: i64 = 2500;
    let directory = open(&presence).await;
    let epoch = connect(&directory, DEVICE, 1).await.epoch;
    let route = |device: i64| Route {
        gateway: gateway("gateway-1"),
        connection: ConnectionId(device.cast_unsigned()),
        epoch: LeaseEpoch(epoch.0 + 1),
        protocol: Protocol::MqttWs,
        subscriptions: METHODS,
    };
    // Every second one, so that an answer in a wrong place shows.
    let entries: Vec<_> = (100..100 + COUNT)
        .step_by(2)
        .map(|device| (DeviceKey(device), route(device)))
        .collect();
    let restored = directory.restore(entries.clone()).await.unwrap();
    assert_eq!(restored, vec![Restored::Stands; entries.len()]);
    let devices: Vec<_> = (100..100 + COUNT).map(DeviceKey).collect();
    let found = directory.lookup(&devices).await.unwrap();
    let expected: Vec<_> = (100..100 + COUNT)
        .map(|device| (device % 2 == 0).then(|| route(device)))
        .collect();
    assert!(found == expected, "each route in its place");
    let all = entries.iter().map(|(device, route)| (*device, route.epoch));
    directory.disconnect(all.collect()).await.unwrap();
    let found = directory.lookup(&devices).await.unwrap();
    assert!(found.iter().all(Option::is_none));
    assert_eq!(directory.lookup(&[]).await.unwrap(), []);
    assert_eq!(directory.restore(Vec::new()).await.unwrap(), []);
    directory.disconnect(Vec::new()).await.unwrap();
}

#[doc(hidden)]
pub async fn a_watch_sees_an_entry_written_again(presence: Presence) {
    let directory = open(&presence).await;
    let epoch = connect(&directory, DEVICE, 1).await.epoch;
    let route = route_of(&directory, DEVICE).await.unwrap();
    directory.disconnect(vec![(DEVICE, epoch)]).await.unwrap();
    let mut watch = directory.watch(DEVICE).await.unwrap();
    let restored = directory.restore(vec![(DEVICE, route.clone())]).await;
    assert_eq!(restored.unwrap(), [Restored::Stands]);
    assert_eq!(watch.changed().await, Some(route));
}
