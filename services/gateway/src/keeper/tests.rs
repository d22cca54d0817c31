//! A gateway whose presence loses, forgets and keeps silent.

mod rechecks;
mod reports;

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::device::Device;
use downlink_domain::id::{ConnectionId, DeviceKey, GatewayId};
use downlink_domain::presence::{DisconnectReason, LeaseEpoch, Protocol, Route, Subscriptions};
use downlink_ports::{GatewayLeases, PresenceDirectory, QueueApi};
use downlink_testkit::a_message_to;
use futures::poll;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::LeaseHealth;
use crate::connections::Handle;
use crate::device::{
    DeviceSession, OpenError, Operation, SessionEvent, Stamp, StampedBy, StoredSession,
};
use crate::fakes::{FrailDirectory, TestHub};

const C2D: Subscriptions = Subscriptions {
    c2d: true,
    methods: false,
    desired: false,
    twin_replies: false,
};
const TTL: Duration = Duration::from_secs(10);

async fn open(hub: &TestHub, device: &Device) -> Result<DeviceSession<u32>, OpenError> {
    let stamp = Stamp::new(device, StampedBy::Identity, None);
    let shared = Arc::clone(&hub.shared);
    DeviceSession::open(shared, device.clone(), Protocol::Mqtt, C2D, stamp).await
}

async fn next(session: &mut DeviceSession<u32>) -> SessionEvent<u32> {
    let event = std::future::poll_fn(|cx| session.poll_event(cx));
    tokio::time::timeout(Duration::from_mins(1), event)
        .await
        .expect("an event within a minute")
}

async fn send(hub: &TestHub, device: &Device) {
    let mut message = a_message_to(device.name.device.as_str(), "open");
    message.hub = device.hub.clone();
    message.expiry = None;
    let accepted = hub.backend.enqueue(vec![message]).await.unwrap();
    assert!(accepted[0].is_ok(), "{accepted:?}");
}

async fn route_of(directory: &FrailDirectory, device: DeviceKey) -> Option<Route> {
    directory.lookup(&[device]).await.unwrap().remove(0)
}

/// A hub whose gateway holds its lease.
async fn kept_hub(directory: &Arc<FrailDirectory>) -> TestHub {
    watched_hub(directory).await.0
}

async fn watched_hub(directory: &Arc<FrailDirectory>) -> (TestHub, watch::Receiver<LeaseHealth>) {
    let hub = TestHub::with_directory(directory, |options| options.lease_ttl = TTL).await;
    let mut health = hub.keep_lease();
    health
        .wait_for(|health| *health == LeaseHealth::Held)
        .await
        .unwrap();
    // Its first lease is new, and so far there is nothing to write.
    hub.shared.standing.until_restored().await;
    (hub, health)
}

#[tokio::test(start_paused = true)]
async fn the_lease_is_renewed_while_the_gateway_lives_and_given_back_last() {
    let directory = FrailDirectory::new();
    let hub = kept_hub(&directory).await;
    let device = hub.device("dev").await;
    let session = open(&hub, &device).await.unwrap();
    sleep(Duration::from_secs(5)).await;
    let leases = directory.gateways().await.unwrap();
    assert_eq!(
        (leases[0].gateway.as_str(), leases[0].connections),
        ("gateway-1", 1)
    );
    assert!(hub.metric("downlink_gateway_lease_renewals_total{outcome=\"renewed\"}") >= 3);
    session.close().await;
    let TestHub {
        shared, lifecycle, ..
    } = hub;
    drop(shared);
    lifecycle.shutdown(Duration::from_secs(10)).await;
    assert_eq!(directory.gateways().await.unwrap(), []);
    assert_eq!(route_of(&directory, device.key).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_entries_that_were_lost_are_back_within_ten_seconds() {
    let directory = FrailDirectory::new();
    let hub = kept_hub(&directory).await;
    let own: GatewayId = "gateway-1".parse().unwrap();
    let mut handles = Vec::new();
    for number in 0..100_000_u64 {
        let device = DeviceKey(i64::try_from(number).unwrap() + 1_000);
        let id = ConnectionId(number);
        let connected = directory.connect(device, own.clone(), id, Protocol::MqttWs);
        let epoch = connected.await.unwrap().epoch;
        let handle = Arc::new(Handle::new(id, epoch, Protocol::MqttWs, C2D));
        hub.shared
            .connections
            .enter(device, Arc::clone(&handle))
            .unwrap();
        handles.push((device, handle));
    }
    directory.lose_all();
    let lost_at = Instant::now();
    hub.shared.standing.until_lost_and_restored().await;
    let took = lost_at.elapsed();
    assert!(took <= Duration::from_secs(10), "{took:?}");
    assert!(took >= Duration::from_secs(2), "paced: {took:?}");
    assert_eq!(directory.connected_count().await.unwrap(), 100_000);
    for (device, handle) in handles.iter().step_by(997) {
        assert_eq!(
            route_of(&directory, *device).await,
            Some(handle.route(&own))
        );
    }
    assert_eq!(
        hub.metric("downlink_gateway_presence_restored_total{outcome=\"stands\"}"),
        100_000
    );
}

#[tokio::test(start_paused = true)]
async fn a_message_whose_wake_up_was_lost_with_presence_is_asked_for() {
    let directory = FrailDirectory::new();
    let hub = kept_hub(&directory).await;
    let device = hub.device("dev").await;
    let mut session = open(&hub, &device).await.unwrap();
    assert!(poll!(std::future::poll_fn(|cx| session.poll_event(cx))).is_pending());
    sleep(Duration::from_secs(1)).await;
    assert!(poll!(std::future::poll_fn(|cx| session.poll_event(cx))).is_pending());
    // Straight into the store: nobody is woken.
    directory.lose_all();
    hub.send_unannounced(&device).await;
    let event = next(&mut session).await;
    assert!(matches!(event, SessionEvent::Messages(_)), "{event:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_device_went_elsewhere_meanwhile_is_closed() {
    let directory = FrailDirectory::new();
    let hub = kept_hub(&directory).await;
    let device = hub.device("dev").await;
    let mut old = open(&hub, &device).await.unwrap();
    directory.lose_all();
    let other = hub.second("gateway-2").await;
    let _new = open(&other, &device).await.unwrap();
    let event = next(&mut old).await;
    assert!(
        matches!(event, SessionEvent::Close(DisconnectReason::Superseded)),
        "{event:?}"
    );
    assert_eq!(
        hub.metric("downlink_gateway_presence_restored_total{outcome=\"superseded\"}"),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_not_told_that_it_is_superseded_finds_out() {
    let directory = FrailDirectory::new();
    let hub = kept_hub(&directory).await;
    let device = hub.device("dev").await;
    let mut old = open(&hub, &device).await.unwrap();
    let other = hub.second("gateway-2").await;
    hub.backend.forget_gateway(&hub.shared.options.id);
    let _new = open(&other, &device).await.unwrap();
    let event = std::future::poll_fn(|cx| old.poll_event(cx));
    let reassert = hub.shared.options.reassert_interval;
    let event = tokio::time::timeout(reassert * 2, event).await.unwrap();
    assert!(
        matches!(event, SessionEvent::Close(DisconnectReason::Superseded)),
        "{event:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_presence_alone_does_not_stop_messages_but_connects() {
    let directory = FrailDirectory::new();
    let (hub, health) = watched_hub(&directory).await;
    let (device, stranger) = (hub.device("dev").await, hub.device("stranger").await);
    let mut session = open(&hub, &device).await.unwrap();
    directory.set_away(true);
    sleep(TTL * 6).await;
    assert_eq!(*health.borrow(), LeaseHealth::Away);
    send(&hub, &device).await;
    let event = next(&mut session).await;
    assert!(matches!(event, SessionEvent::Messages(_)), "{event:?}");
    let asked_at = Instant::now();
    let refused = open(&hub, &stranger).await.err();
    assert!(
        matches!(refused, Some(OpenError::Unavailable(_))),
        "{refused:?}"
    );
    assert!(asked_at.elapsed() < Duration::from_secs(3));
    directory.set_away(false);
    sleep(TTL).await;
    assert_eq!(*health.borrow(), LeaseHealth::Held);
    open(&hub, &stranger).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_was_stopped_past_its_lease_asks_for_nothing_until_it_has_checked() {
    let directory = FrailDirectory::new();
    let hub = kept_hub(&directory).await;
    let (gone, here) = (hub.device("gone").await, hub.device("here").await);
    let mut of_gone = open(&hub, &gone).await.unwrap();
    let mut of_here = open(&hub, &here).await.unwrap();
    for session in [&mut of_gone, &mut of_here] {
        let settled = std::future::poll_fn(|cx| session.poll_event(cx));
        assert!(
            tokio::time::timeout(Duration::from_secs(2), settled)
                .await
                .is_err()
        );
    }
    // Stopped: time goes on, nothing of this gateway runs. Meanwhile one device moves.
    let other = hub.second("gateway-2").await;
    hub.backend.forget_gateway(&hub.shared.options.id);
    let mut moved = open(&other, &gone).await.unwrap();
    directory.set_away(true);
    tokio::time::advance(TTL * 2).await;
    send(&hub, &gone).await;
    send(&hub, &here).await;
    hub.shared.connections.wake_shard_of(gone.key);
    hub.shared.connections.wake_shard_of(here.key);
    for session in [&mut of_gone, &mut of_here] {
        let event = std::future::poll_fn(|cx| session.poll_event(cx));
        let event = tokio::time::timeout(TTL * 3, event).await;
        assert!(event.is_err(), "{event:?}");
    }
    directory.set_away(false);
    let event = next(&mut of_here).await;
    assert!(matches!(event, SessionEvent::Messages(_)), "{event:?}");
    let event = next(&mut of_gone).await;
    assert!(
        matches!(event, SessionEvent::Close(DisconnectReason::Superseded)),
        "{event:?}"
    );
    let event = next(&mut moved).await;
    assert!(
        matches!(&event, SessionEvent::Messages(messages) if messages[0].message.delivery_count == 0),
        "{event:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_while_its_entry_is_written_again_leaves_none() {
    let directory = FrailDirectory::new();
    let hub = kept_hub(&directory).await;
    let device = hub.device("dev").await;
    let session = open(&hub, &device).await.unwrap();
    directory.restores.forget_permits(usize::MAX);
    directory.lose_all();
    // The call that writes it is on its way when it ends.
    hub.shared.standing.until_lost().await;
    session.close().await;
    hub.until_gone(&device).await;
    directory.restores.add_permits(1_000);
    hub.shared.standing.until_restored().await;
    assert_eq!(route_of(&directory, device.key).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_made_while_the_entry_is_written_again_is_known_in_the_end() {
    let directory = FrailDirectory::new();
    let hub = kept_hub(&directory).await;
    let device = hub.device("dev").await;
    let mut session = open(&hub, &device).await.unwrap();
    directory.restores.forget_permits(usize::MAX);
    directory.lose_all();
    hub.shared.standing.until_lost().await;
    let subscriptions = Subscriptions {
        methods: true,
        ..C2D
    };
    session.operate(
        1,
        Operation::Subscribe {
            subscriptions,
            session: StoredSession::Kept,
        },
    );
    let event = next(&mut session).await;
    assert!(matches!(event, SessionEvent::Ended(1, _)), "{event:?}");
    assert_eq!(route_of(&directory, device.key).await, None);
    directory.restores.add_permits(1_000);
    hub.shared.standing.until_restored().await;
    let route = route_of(&directory, device.key).await.unwrap();
    assert_eq!(route.subscriptions, subscriptions);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ended_while_presence_was_away_is_taken_out_when_it_is_back() {
    let directory = FrailDirectory::new();
    let hub = kept_hub(&directory).await;
    let device = hub.device("dev").await;
    let session = open(&hub, &device).await.unwrap();
    directory.set_away(true);
    session.close().await;
    hub.until_gone(&device).await;
    sleep(Duration::from_secs(5)).await;
    directory.set_away(false);
    assert!(route_of(&directory, device.key).await.is_some());
    sleep(Duration::from_secs(2)).await;
    assert_eq!(route_of(&directory, device.key).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_finds_no_presence_at_its_start_goes_on_asking() {
    let directory = FrailDirectory::new();
    directory.set_away(true);
    let hub = TestHub::with_directory(&directory, |_| ()).await;
    let mut health = hub.keep_lease();
    sleep(Duration::from_mins(1)).await;
    assert_eq!(*health.borrow(), LeaseHealth::Waiting);
    directory.set_away(false);
    health
        .wait_for(|health| *health == LeaseHealth::Held)
        .await
        .unwrap();
    assert_eq!(hub.shared.standing.generation(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_lease_holds_of_old_epochs_is_no_entry_of_a_newer_one() {
    let directory = FrailDirectory::new();
    let hub = kept_hub(&directory).await;
    let device = DeviceKey(1_000);
    let own: GatewayId = "gateway-1".parse().unwrap();
    let newer = directory
        .connect(
            device,
            "gateway-2".parse().unwrap(),
            ConnectionId(2),
            Protocol::Mqtt,
        )
        .await
        .unwrap();
    let stale = Handle::new(ConnectionId(1), LeaseEpoch(1), Protocol::Mqtt, C2D);
    let stale = Arc::new(stale);
    assert!(stale.route(&own).epoch < newer.epoch);
    hub.shared.connections.enter(device, stale).unwrap();
    sleep(hub.shared.options.reassert_interval * 2).await;
    assert_eq!(
        route_of(&directory, device).await.unwrap().epoch,
        newer.epoch
    );
}
