//! What twin is told of connections.

use downlink_domain::event::EventKind;
use downlink_domain::presence::ConnectionEnd;
use downlink_ports::events::END_PROPERTY;
use downlink_ports::{ConnectionStore, DeviceRegistry, EventOutbox};

use super::*;
use crate::activity::Teller;

async fn registered(hub: &TestHub, device: &Device) -> Device {
    let names = vec![device.name.clone()];
    let found = hub.store.find(device.hub.clone(), names).await.unwrap();
    found.into_iter().next().flatten().unwrap()
}

/// Waits until twin has it that the device is connected, or that it is not.
async fn until_recorded(hub: &TestHub, device: &Device, is_connected: bool) {
    let recorded = async {
        while registered(hub, device).await.is_connected != is_connected {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let within = Duration::from_mins(30);
    tokio::time::timeout(within, recorded)
        .await
        .expect("it is told");
}

/// Kind and reason of each event of a connection.
async fn told(hub: &TestHub) -> Vec<(String, String)> {
    let events = hub.store.read_after(0, 1_000).await.unwrap();
    let events = events.into_iter().map(|(_, event)| event);
    let events = events.filter(|event| event.kind == EventKind::Connection);
    let told = events.map(|event| {
        let property = |name: &str| {
            let found = event.properties.iter().find(|(known, _)| known == name);
            found.map_or(String::new(), |(_, value)| value.clone())
        };
        (property("opType"), property(END_PROPERTY))
    });
    told.collect()
}

fn connected() -> (String, String) {
    ("deviceConnected".to_owned(), String::new())
}

fn disconnected(end: ConnectionEnd) -> (String, String) {
    ("deviceDisconnected".to_owned(), end.as_str().to_owned())
}

#[tokio::test(start_paused = true)]
async fn what_twin_does_not_take_is_told_again_in_order() {
    let directory = FrailDirectory::new();
    let hub = kept_hub(&directory).await;
    let device = hub.device("dev").await;
    hub.backend.set_stuck(true);
    let mut session = open(&hub, &device).await.unwrap();
    session.ends_by(ConnectionEnd::Closed);
    session.close().await;
    let session = open(&hub, &device).await.unwrap();
    sleep(Duration::from_mins(5)).await;
    assert!(!registered(&hub, &device).await.is_connected);
    hub.backend.set_stuck(false);
    until_recorded(&hub, &device, true).await;
    let expected = [
        connected(),
        disconnected(ConnectionEnd::Closed),
        connected(),
    ];
    assert_eq!(told(&hub).await, expected);
    drop(session);
    until_recorded(&hub, &device, false).await;
    assert_eq!(told(&hub).await[3], disconnected(ConnectionEnd::Lost));
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_was_taken_for_lost_is_there_again_with_the_gateways_next_word() {
    let directory = FrailDirectory::new();
    let hub = kept_hub(&directory).await;
    let device = hub.device("dev").await;
    let session = open(&hub, &device).await.unwrap();
    until_recorded(&hub, &device, true).await;
    let presume = async || {
        let own = hub.shared.options.id.clone();
        let left = hub
            .store
            .list_connected(own, DeviceKey(0), 10)
            .await
            .unwrap();
        let now = hub.shared.peers.clock.now();
        let presumed = hub
            .store
            .presume_ended(left, ConnectionEnd::GatewayLost, now);
        assert_eq!(presumed.await.unwrap(), 1);
    };
    presume().await;
    // When presence had lost it too, at once.
    directory.lose_all();
    hub.shared.standing.until_lost_and_restored().await;
    until_recorded(&hub, &device, true).await;
    // Otherwise with the next round.
    presume().await;
    until_recorded(&hub, &device, true).await;
    let lost = disconnected(ConnectionEnd::GatewayLost);
    let expected = [connected(), lost.clone(), connected(), lost, connected()];
    assert_eq!(told(&hub).await, expected);
    session.close().await;
    until_recorded(&hub, &device, false).await;
    sleep(hub.shared.options.reassert_interval * 2).await;
    assert!(!registered(&hub, &device).await.is_connected);
}

#[tokio::test(start_paused = true)]
async fn what_the_hub_ordered_is_the_reason_whatever_the_door_says() {
    let directory = FrailDirectory::new();
    let hub = kept_hub(&directory).await;
    let device = hub.device("dev").await;
    let mut old = open(&hub, &device).await.unwrap();
    let other = hub.second("gateway-2").await;
    let new = open(&other, &device).await.unwrap();
    let event = next(&mut old).await;
    assert!(matches!(event, SessionEvent::Close(_)), "{event:?}");
    old.ends_by(ConnectionEnd::Lost);
    old.close().await;
    sleep(Duration::from_secs(5)).await;
    let superseded = ConnectionEnd::Ordered(DisconnectReason::Superseded);
    assert!(registered(&hub, &device).await.is_connected);
    let expected = [connected(), disconnected(superseded), connected()];
    assert_eq!(told(&hub).await, expected);
    drop(new);
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_always_active_is_written_once_per_interval() {
    let directory = FrailDirectory::new();
    let hub = kept_hub(&directory).await;
    let device = hub.device("dev").await;
    let poller = hub.device("poller").await;
    let mut session = open(&hub, &device).await.unwrap();
    until_recorded(&hub, &device, true).await;
    let interval = Duration::from_mins(1);
    let reports = &hub.shared.metrics.reports;
    let before = reports.activity.value();
    let teller = Teller {
        connections: Arc::clone(&hub.shared.connections),
        pollers: Arc::clone(&hub.shared.pollers),
        twin: Arc::clone(&hub.shared.peers.connections),
        interval,
        told: reports.activity.clone(),
    };
    let drain = tokio_util::sync::CancellationToken::new();
    let telling = teller.run(drain.clone());
    let sending = async {
        for _ in 0..300 {
            hub.clock.advance(Duration::from_secs(1));
            session.operate(1, Operation::GetTwin);
            let event = next(&mut session).await;
            assert!(matches!(event, SessionEvent::Ended(..)), "{event:?}");
            let now = hub.shared.peers.clock.now();
            hub.shared.pollers.note(poller.key, now);
            sleep(Duration::from_secs(1)).await;
        }
        drain.cancel();
    };
    futures::join!(telling, sending);
    let writes = reports.activity.value() - before;
    assert!(
        (8..=13).contains(&writes),
        "{writes} writes in five minutes"
    );
    let late = hub.shared.peers.clock.now() - interval;
    assert!(registered(&hub, &device).await.last_activity_at > late);
    let now = hub.shared.peers.clock.now();
    assert_eq!(registered(&hub, &poller).await.last_activity_at, now);
}
