//! Promises of `ConnectionStore`.

use std::time::Duration;

use downlink_domain::Timestamp;
use downlink_domain::device::{Device, IfMatch};
use downlink_domain::event::{Event, EventKind};
use downlink_domain::id::{DeviceKey, GatewayId, IdentityName};
use downlink_domain::presence::{ConnectionEnd, ConnectionReport, DisconnectReason, LeaseEpoch};

use super::Subject;
use super::given::{a_device_spec, a_hub, an_identity, noon, somebody};
use crate::ConnectionChange;
use crate::events::END_PROPERTY;

const SECOND: Duration = Duration::from_secs(1);
const LOST: ConnectionReport = ConnectionReport::Ended(ConnectionEnd::Lost);

fn gateway(name: &str) -> GatewayId {
    name.parse().unwrap()
}

fn change(
    device: &Device,
    epoch: u64,
    report: ConnectionReport,
    at: Timestamp,
) -> ConnectionChange {
    ConnectionChange {
        device: device.key,
        epoch: LeaseEpoch(epoch),
        gateway: gateway("gateway-1"),
        report,
        at,
        active_at: at,
    }
}

fn began(device: &Device, epoch: u64) -> ConnectionChange {
    change(device, epoch, ConnectionReport::Began, noon())
}

fn on(name: &str, mut change: ConnectionChange) -> ConnectionChange {
    change.gateway = gateway(name);
    change
}

async fn record(subject: &Subject, changes: Vec<ConnectionChange>) {
    let recorded = subject.connections.record_connections(changes).await;
    recorded.unwrap();
}

async fn find(subject: &Subject, name: &IdentityName) -> Device {
    let found = subject.registry.find(a_hub(), vec![name.clone()]).await;
    found.unwrap().remove(0).unwrap()
}

fn property<'a>(event: &'a Event, name: &str) -> &'a str {
    let found = event.properties.iter().find(|(known, _)| known == name);
    found.map_or("", |(_, value)| value)
}

/// Device, kind and reason of each event of a connection.
async fn told(subject: &Subject) -> Vec<(String, String, String)> {
    let events = subject.events(EventKind::Connection).await;
    let told = events.iter().map(|event| {
        let device = event.device.as_ref().unwrap().to_string();
        let kind = property(event, "opType").to_owned();
        (device, kind, property(event, END_PROPERTY).to_owned())
    });
    told.collect()
}

fn connected(device: &str) -> (String, String, String) {
    (device.into(), "deviceConnected".into(), String::new())
}

fn disconnected(device: &str, end: ConnectionEnd) -> (String, String, String) {
    let end = end.as_str().to_owned();
    (device.into(), "deviceDisconnected".into(), end)
}

async fn listed(subject: &Subject, of: &str) -> Vec<(DeviceKey, LeaseEpoch)> {
    let zero = DeviceKey(0);
    let listed = subject.connections.list_connected(gateway(of), zero, 100);
    listed.await.unwrap()
}

#[doc(hidden)]
pub async fn connects_and_disconnects_move_state_and_times_and_make_events(subject: Subject) {
    let device = subject.register("dev-1").await;
    assert!(!device.is_connected);
    record(&subject, vec![began(&device, 7)]).await;
    let found = find(&subject, &device.name).await;
    assert!(found.is_connected);
    assert_eq!(found.connection_state_updated_at, noon());
    assert_eq!(found.etag, device.etag);
    let mut ended = change(&device, 7, LOST, noon() + SECOND * 2);
    ended.active_at = noon() + SECOND;
    record(&subject, vec![ended]).await;
    let found = find(&subject, &device.name).await;
    assert!(!found.is_connected);
    assert_eq!(found.connection_state_updated_at, noon() + SECOND * 2);
    assert_eq!(found.last_activity_at, noon() + SECOND);
    let expected = [
        connected("dev-1"),
        disconnected("dev-1", ConnectionEnd::Lost),
    ];
    assert_eq!(told(&subject).await, expected);
    let events = subject.events(EventKind::Connection).await;
    assert!(events[0].body < events[1].body, "compared as text");
}

#[doc(hidden)]
pub async fn reports_are_taken_in_the_order_of_epochs_and_told_once(subject: Subject) {
    let device = subject.register("dev-1").await;
    let newer = on("gateway-2", began(&device, 9));
    record(&subject, vec![began(&device, 8), newer.clone()]).await;
    let superseded = ConnectionEnd::Ordered(DisconnectReason::Superseded);
    // Late, repeated, of identities that are gone.
    let mut stranger = began(&device, 10);
    stranger.device = DeviceKey(device.key.0 + 1_000);
    let late = change(&device, 8, LOST, noon() + SECOND);
    record(
        &subject,
        vec![late.clone(), began(&device, 8), newer, stranger],
    )
    .await;
    record(&subject, vec![late]).await;
    let expected = [
        connected("dev-1"),
        disconnected("dev-1", superseded),
        connected("dev-1"),
    ];
    assert_eq!(told(&subject).await, expected);
    assert!(find(&subject, &device.name).await.is_connected);
    let bodies = subject.events(EventKind::Connection).await;
    assert!(bodies.is_sorted_by(|a, b| a.body < b.body));
    assert_eq!(listed(&subject, "gateway-1").await, []);
    assert_eq!(
        listed(&subject, "gateway-2").await,
        [(device.key, LeaseEpoch(9))]
    );
}

#[doc(hidden)]
pub async fn what_a_lost_gateway_left_is_found_and_ended_once(subject: Subject) {
    let first = subject.register("dev-1").await;
    let second = subject.register("dev-2").await;
    let third = subject.register("dev-3").await;
    let fourth = subject.register("dev-4").await;
    let changes = vec![
        began(&first, 1),
        began(&second, 2),
        on("gateway-2", began(&third, 3)),
        began(&fourth, 4),
        change(&fourth, 4, LOST, noon()),
    ];
    record(&subject, changes).await;
    let store = &subject.connections;
    let gateways = store.connected_gateways().await.unwrap();
    assert_eq!(gateways, [gateway("gateway-1"), gateway("gateway-2")]);
    let left = listed(&subject, "gateway-1").await;
    assert_eq!(
        left,
        [(first.key, LeaseEpoch(1)), (second.key, LeaseEpoch(2))]
    );
    let part = store.list_connected(gateway("gateway-1"), first.key, 1);
    assert_eq!(part.await.unwrap(), [(second.key, LeaseEpoch(2))]);
    // One of them has connected again meanwhile.
    record(&subject, vec![on("gateway-2", began(&second, 5))]).await;
    let later = noon() + SECOND;
    let ended = store.presume_ended(left.clone(), ConnectionEnd::GatewayLost, later);
    assert_eq!(ended.await.unwrap(), 1);
    let again = store.presume_ended(left, ConnectionEnd::GatewayLost, later + SECOND);
    assert_eq!(again.await.unwrap(), 0);
    let found = find(&subject, &first.name).await;
    assert!(!found.is_connected);
    assert_eq!(found.connection_state_updated_at, later);
    assert!(find(&subject, &second.name).await.is_connected);
    let gateways = store.connected_gateways().await.unwrap();
    assert_eq!(gateways, [gateway("gateway-2")]);
    let told = told(&subject).await;
    let lost = disconnected("dev-1", ConnectionEnd::GatewayLost);
    assert_eq!(told.iter().filter(|event| **event == lost).count(), 1);
}

#[doc(hidden)]
pub async fn a_gateway_that_was_presumed_lost_has_its_connections_back(subject: Subject) {
    let device = subject.register("dev-1").await;
    record(&subject, vec![began(&device, 1)]).await;
    let all = listed(&subject, "gateway-1").await;
    let presumed =
        subject
            .connections
            .presume_ended(all, ConnectionEnd::GatewayLost, noon() + SECOND);
    assert_eq!(presumed.await.unwrap(), 1);
    let stands = change(&device, 1, ConnectionReport::Stands, noon() + SECOND * 2);
    record(&subject, vec![stands.clone()]).await;
    record(&subject, vec![stands.clone()]).await;
    assert!(find(&subject, &device.name).await.is_connected);
    let expected = [
        connected("dev-1"),
        disconnected("dev-1", ConnectionEnd::GatewayLost),
        connected("dev-1"),
    ];
    assert_eq!(told(&subject).await, expected);
    // What the gateway itself ended stays so.
    record(
        &subject,
        vec![change(&device, 1, LOST, noon() + SECOND * 3)],
    )
    .await;
    record(&subject, vec![stands]).await;
    assert!(!find(&subject, &device.name).await.is_connected);
    assert_eq!(told(&subject).await.len(), 4);
}

#[doc(hidden)]
pub async fn connected_devices_of_a_hub_are_counted_without_modules(subject: Subject) {
    let first = subject.register("dev-1").await;
    let second = subject.register("dev-2").await;
    let name = IdentityName {
        module: Some("mod-1".parse().unwrap()),
        ..an_identity("dev-1")
    };
    let module = subject
        .registry
        .create(a_hub(), name, a_device_spec(), somebody(), noon());
    let module = module.await.unwrap().unwrap();
    let elsewhere = subject.registry.create(
        "other.downlink.test".parse().unwrap(),
        an_identity("dev-1"),
        a_device_spec(),
        somebody(),
        noon(),
    );
    let elsewhere = elsewhere.await.unwrap().unwrap();
    let changes = vec![
        began(&first, 1),
        on("gateway-2", began(&second, 2)),
        began(&module, 3),
        began(&elsewhere, 4),
    ];
    record(&subject, changes).await;
    let store = &subject.connections;
    assert_eq!(store.count_connected(a_hub()).await.unwrap(), 2);
    assert_eq!(
        store.count_connected(elsewhere.hub.clone()).await.unwrap(),
        1
    );
    record(&subject, vec![change(&first, 1, LOST, noon())]).await;
    assert_eq!(store.count_connected(a_hub()).await.unwrap(), 1);
    let events = subject.events(EventKind::Connection).await;
    let of_module = events.iter().find(|event| event.module.is_some()).unwrap();
    assert_eq!(property(of_module, "moduleId"), "mod-1");
}

#[doc(hidden)]
pub async fn activity_moves_forward_only(subject: Subject) {
    let device = subject.register("dev-1").await;
    let other = subject.register("dev-2").await;
    let seen = vec![
        (device.key, noon() + SECOND),
        (device.key, noon() + SECOND * 3),
        (other.key, noon() + SECOND),
        (DeviceKey(other.key.0 + 1_000), noon()),
    ];
    subject.connections.record_activity(seen).await.unwrap();
    let late = vec![(device.key, noon() + SECOND * 2)];
    subject.connections.record_activity(late).await.unwrap();
    let found = find(&subject, &device.name).await;
    assert_eq!(found.last_activity_at, noon() + SECOND * 3);
    assert_eq!(found.connection_state_updated_at, Timestamp::UNSET);
    let found = find(&subject, &other.name).await;
    assert_eq!(found.last_activity_at, noon() + SECOND);
    assert_eq!(told(&subject).await, []);
}

#[doc(hidden)]
pub async fn a_deletion_tells_the_disconnect_and_later_reports_tell_nothing(subject: Subject) {
    let device = subject.register("dev-1").await;
    let name = IdentityName {
        module: Some("mod-1".parse().unwrap()),
        ..an_identity("dev-1")
    };
    let module = subject
        .registry
        .create(a_hub(), name, a_device_spec(), somebody(), noon());
    let module = module.await.unwrap().unwrap();
    record(&subject, vec![began(&device, 1), began(&module, 2)]).await;
    let deleted = subject.registry.delete(
        a_hub(),
        device.name.clone(),
        IfMatch::Any,
        somebody(),
        noon(),
    );
    deleted.await.unwrap().unwrap();
    record(&subject, vec![change(&device, 1, LOST, noon() + SECOND)]).await;
    let end = ConnectionEnd::Ordered(DisconnectReason::Deleted);
    let told = told(&subject).await;
    assert_eq!(
        told[2..],
        [disconnected("dev-1", end), disconnected("dev-1", end)]
    );
    let gateways = subject.connections.connected_gateways().await.unwrap();
    assert_eq!(gateways, []);
}
