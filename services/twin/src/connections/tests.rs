use downlink_domain::device::Device;
use downlink_domain::event::EventKind;
use downlink_domain::id::ConnectionId;
use downlink_domain::presence::{ConnectionEnd, ConnectionReport, LeaseEpoch, Protocol};
use downlink_ports::events::END_PROPERTY;
use downlink_ports::{
    Clock as _, ConnectionChange, DeviceRegistry as _, EventOutbox as _, GatewayLease,
    GatewayLeases as _, PresenceDirectory as _,
};
use downlink_presence_memory::MemoryPresence;
use downlink_runtime::Lifecycle;
use downlink_runtime::telemetry::Metrics;
use downlink_testkit::{
    CountingIds, ManualClock, MemoryStore, a_device_spec, a_hub, an_identity, noon, somebody,
};
use tokio::time::sleep;

use super::metrics::SweepMetrics;
use super::*;
use crate::options::SweepOptions;

/// A store and a directory with sweepers between them.
struct World {
    store: Arc<MemoryStore>,
    presence: MemoryPresence,
    clock: Arc<ManualClock>,
    metrics: Metrics,
    lifecycle: Lifecycle,
    options: SweepOptions,
}

impl World {
    fn new() -> Self {
        Self {
            store: Arc::new(MemoryStore::new()),
            presence: MemoryPresence::new(noon()),
            clock: Arc::new(ManualClock::default()),
            metrics: Metrics::new("downlink-twin").unwrap(),
            lifecycle: Lifecycle::new(),
            options: SweepOptions::default(),
        }
    }

    /// Starts one more sweeper.
    fn sweep(&self) {
        let sources = Sources {
            store: self.store.clone(),
            leases: Arc::new(self.presence.clone()),
            presence: Arc::new(self.presence.clone()),
            clock: self.clock.clone(),
            metrics: SweepMetrics::new(&self.metrics.meter("twin")),
        };
        let ids = Arc::new(CountingIds::default());
        start(self.options, sources, ids, &self.lifecycle);
    }

    async fn lease(&self, gateway: &str) {
        let lease = GatewayLease {
            gateway: gateway.parse().unwrap(),
            address: String::new(),
            connections: 0,
        };
        self.presence
            .renew(lease, Duration::from_secs(10))
            .await
            .unwrap();
    }

    async fn release(&self, gateway: &str) {
        self.presence
            .release(&gateway.parse().unwrap())
            .await
            .unwrap();
    }

    /// Registers a device that is recorded as connected at `gateway`.
    async fn recorded(&self, name: &str, gateway: &str) -> Device {
        let name = an_identity(name);
        let created = self
            .store
            .create(a_hub(), name, a_device_spec(), somebody(), noon());
        let device = created.await.unwrap().unwrap();
        self.report(&device, 1, gateway, ConnectionReport::Began)
            .await;
        device
    }

    async fn report(&self, device: &Device, epoch: u64, gateway: &str, report: ConnectionReport) {
        let change = ConnectionChange {
            device: device.key,
            epoch: LeaseEpoch(epoch),
            gateway: gateway.parse().unwrap(),
            report,
            at: self.clock.now(),
            active_at: self.clock.now(),
        };
        self.store.record_connections(vec![change]).await.unwrap();
    }

    /// Enters the device in presence; returns its epoch there.
    async fn enter(&self, device: &Device, gateway: &str) -> LeaseEpoch {
        let gateway = gateway.parse().unwrap();
        let connection = ConnectionId(1);
        let entered = self
            .presence
            .connect(device.key, gateway, connection, Protocol::Mqtt);
        entered.await.unwrap().epoch
    }

    async fn is_connected(&self, device: &Device) -> bool {
        let found = self.store.find(a_hub(), vec![device.name.clone()]).await;
        found.unwrap()[0].as_ref().unwrap().is_connected
    }

    /// Reasons of the disconnects that were told.
    async fn ends(&self) -> Vec<String> {
        let events = self.store.read_after(0, 10_000).await.unwrap();
        let events = events.into_iter().map(|(_, event)| event);
        let connections = events.filter(|event| event.kind == EventKind::Connection);
        let reasons = connections.filter_map(|event| {
            let mut properties = event.properties.into_iter();
            properties.find(|(name, _)| name == END_PROPERTY)
        });
        reasons.map(|(_, reason)| reason).collect()
    }
}

const LOST: &str = ConnectionEnd::GatewayLost.as_str();

#[tokio::test(start_paused = true)]
async fn connections_of_a_gateway_without_a_lease_end_after_the_grace_and_once() {
    let world = World::new();
    for gateway in ["gateway-1", "gateway-2"] {
        world.lease(gateway).await;
    }
    let mut left = Vec::new();
    for number in 0..1_200 {
        left.push(world.recorded(&format!("dev-{number}"), "gateway-1").await);
    }
    let stays = world.recorded("stays", "gateway-2").await;
    world.enter(&stays, "gateway-2").await;
    world.sweep();
    world.sweep();
    sleep(world.options.grace * 3).await;
    assert!(world.is_connected(&left[0]).await);
    world.release("gateway-1").await;
    sleep(world.options.grace * 4 / 5).await;
    assert!(world.is_connected(&left[0]).await);
    sleep(Duration::from_secs(10)).await;
    for device in [&left[0], &left[600], &left[1_199]] {
        assert!(!world.is_connected(device).await);
    }
    assert!(world.is_connected(&stays).await);
    assert_eq!(world.ends().await, vec![LOST; 1_200]);
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_was_emptied_for_a_moment_ends_nothing() {
    let world = World::new();
    world.lease("gateway-1").await;
    let device = world.recorded("dev", "gateway-1").await;
    world.enter(&device, "gateway-1").await;
    world.sweep();
    for _ in 0..20 {
        world.release("gateway-1").await;
        sleep(world.options.grace * 3 / 5).await;
        world.lease("gateway-1").await;
        sleep(Duration::from_secs(2)).await;
    }
    assert!(world.is_connected(&device).await);
    assert!(world.ends().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_no_gateway_has_ends_after_two_looks() {
    let world = World::new();
    world.lease("gateway-1").await;
    let ghost = world.recorded("ghost", "gateway-1").await;
    let there = world.recorded("there", "gateway-1").await;
    let newer = world.recorded("newer", "gateway-1").await;
    world.enter(&there, "gateway-1").await;
    world.enter(&newer, "gateway-2").await;
    world.sweep();
    sleep(world.options.walk_pause + Duration::from_secs(5)).await;
    assert!(world.is_connected(&ghost).await, "one look is not enough");
    sleep(world.options.patience + Duration::from_secs(5)).await;
    assert!(!world.is_connected(&ghost).await);
    assert!(world.is_connected(&there).await);
    assert!(
        world.is_connected(&newer).await,
        "its gateway will report it"
    );
    assert_eq!(world.ends().await, [ConnectionEnd::Vanished.as_str()]);
    // It was there all the same.
    world
        .report(&ghost, 1, "gateway-1", ConnectionReport::Stands)
        .await;
    assert!(world.is_connected(&ghost).await);
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_at_once_have_one_count_made() {
    let world = World::new();
    let device = world.recorded("dev", "gateway-1").await;
    let desk = ConnectionDesk::new(world.store.clone());
    assert_eq!(desk.count_connected(a_hub()).await, Ok(1));
    let lost = ConnectionReport::Ended(ConnectionEnd::Lost);
    world.report(&device, 1, "gateway-1", lost).await;
    assert_eq!(desk.count_connected(a_hub()).await, Ok(1), "as counted");
    sleep(COUNT_AGE).await;
    assert_eq!(desk.count_connected(a_hub()).await, Ok(0));
}
