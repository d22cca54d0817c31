//! The service over in-memory stores, presence and a gateway that writes down what it is told.

use std::sync::Arc;

use async_trait::async_trait;
use downlink_domain::ErrorCode;
use downlink_domain::device::{Device, DeviceSpec, IfMatch};
use downlink_domain::id::{ConnectionId, DeviceKey, GatewayId};
use downlink_domain::method::{MethodAnswer, MethodCall, MethodError};
use downlink_domain::presence::{LeaseEpoch, Protocol};
use downlink_domain::twin::{Object, TwinChange};
use downlink_ports::{
    Disconnect, GatewayApi, Gateways, MethodApi, MethodDelivery, Notify, PeerError,
    PresenceDirectory, TwinApi,
};
use downlink_presence_memory::MemoryPresence;
use downlink_runtime::Lifecycle;
use downlink_runtime::telemetry::Metrics;
use downlink_testkit::{
    CountingIds, ManualClock, MemoryStore, a_device_spec, a_hub, an_identity, noon, somebody,
};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{Semaphore, mpsc};

use crate::service::TwinService;
use crate::{TwinDeps, TwinOptions};

mod access;
mod identities;
mod many_identities;
mod notifications;
mod revocations;
mod sessions;
mod twins;

/// A gateway that holds every device and passes on what it was asked, one permit a call.
struct FakeGateway {
    changes: mpsc::Sender<Notify>,
    orders: mpsc::Sender<Disconnect>,
    permits: Semaphore,
    failures_left: Mutex<u32>,
    unknown_left: Mutex<u32>,
}

#[async_trait]
impl GatewayApi for FakeGateway {
    async fn wake(&self, _devices: Vec<DeviceKey>) -> Result<(), PeerError> {
        unreachable!("the twin service wakes nobody")
    }

    async fn invoke(&self, _delivery: MethodDelivery) -> Result<MethodAnswer, MethodError> {
        unreachable!("the twin service invokes nothing")
    }

    async fn notify(&self, changes: Vec<Notify>) -> Result<(), PeerError> {
        self.permits
            .acquire()
            .await
            .expect("it is never closed")
            .forget();
        for change in changes {
            self.changes.send(change).await.expect("the test listens");
        }
        Ok(())
    }

    async fn disconnect(&self, orders: Vec<Disconnect>) -> Result<(), PeerError> {
        {
            let mut left = self.failures_left.lock();
            if *left > 0 {
                *left -= 1;
                return Err(PeerError::Unavailable { service: "gateway" });
            }
        }
        for order in orders {
            self.orders.send(order).await.expect("the test listens");
        }
        Ok(())
    }
}

/// Knows one gateway, though not at the first times it is asked.
struct OneGateway(Arc<FakeGateway>);

impl Gateways for OneGateway {
    fn find(&self, gateway: &GatewayId) -> Option<Arc<dyn GatewayApi>> {
        let mut left = self.0.unknown_left.lock();
        if *left > 0 {
            *left -= 1;
            return None;
        }
        let is_it = gateway.as_str() == "gateway-1";
        is_it.then(|| Arc::clone(&self.0) as Arc<dyn GatewayApi>)
    }
}

/// A method router that nobody asks.
struct NoMethods;

#[async_trait]
impl MethodApi for NoMethods {
    async fn invoke(&self, _call: MethodCall) -> Result<MethodAnswer, MethodError> {
        unreachable!("no job runs")
    }
}

/// The service and everything around it.
struct World {
    service: TwinService,
    presence: MemoryPresence,
    gateway: Arc<FakeGateway>,
    changes: mpsc::Receiver<Notify>,
    orders: mpsc::Receiver<Disconnect>,
    _lifecycle: Lifecycle,
}

impl World {
    fn new() -> Self {
        Self::with(&TwinOptions::default())
    }

    fn with(options: &TwinOptions) -> Self {
        Self::with_deps(options, |_| {})
    }

    /// Starts with other collaborators than the usual ones.
    fn with_deps(options: &TwinOptions, change: impl FnOnce(&mut TwinDeps)) -> Self {
        let (changes, changes_out) = mpsc::channel(1000);
        let (orders, orders_out) = mpsc::channel(1000);
        let gateway = Arc::new(FakeGateway {
            changes,
            orders,
            permits: Semaphore::new(1000),
            failures_left: Mutex::new(0),
            unknown_left: Mutex::new(0),
        });
        let store = Arc::new(MemoryStore::new());
        let presence = MemoryPresence::new(noon());
        let mut deps = TwinDeps {
            registry: store.clone(),
            connections: store.clone(),
            twins: store.clone(),
            queries: store.clone(),
            limits: store.clone(),
            jobs: store.clone(),
            methods: Arc::new(NoMethods),
            sessions: store.clone(),
            access: store,
            presence: Arc::new(presence.clone()),
            leases: Arc::new(presence.clone()),
            gateways: Arc::new(OneGateway(Arc::clone(&gateway))),
            clock: Arc::new(ManualClock::default()),
            ids: Arc::new(CountingIds::default()),
            meter: Metrics::new("downlink-twin")
                .expect("a new set")
                .meter("twin"),
        };
        change(&mut deps);
        let lifecycle = Lifecycle::new();
        Self {
            service: TwinService::start(options, deps, &lifecycle),
            presence,
            gateway,
            changes: changes_out,
            orders: orders_out,
            _lifecycle: lifecycle,
        }
    }

    async fn create(&self, device: &str) -> Device {
        self.put(device, a_device_spec(), IfMatch::Absent)
            .await
            .expect("it is new")
    }

    async fn put(
        &self,
        device: &str,
        spec: DeviceSpec,
        if_match: IfMatch,
    ) -> Result<Device, PeerError> {
        self.service
            .put_device(a_hub(), an_identity(device), spec, if_match, somebody())
            .await
    }

    async fn connect(&self, device: &Device, gateway: &str) -> LeaseEpoch {
        let gateway = gateway.parse().expect("a valid id");
        let number = ConnectionId(1);
        let connected = self
            .presence
            .connect(device.key, gateway, number, Protocol::Mqtt);
        connected.await.expect("memory does not fail").epoch
    }

    async fn patch(&self, device: &str, desired: Value) -> u64 {
        let change = patch(desired, IfMatch::Any);
        let written = self
            .service
            .update_twin(a_hub(), an_identity(device), change)
            .await;
        written.expect("the patch holds").twin.desired.version
    }
}

#[track_caller]
fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        other => panic!("{other} is not an object"),
    }
}

#[track_caller]
fn patch(desired: Value, if_match: IfMatch) -> TwinChange {
    TwinChange::Patch {
        tags: None,
        desired: Some(object(desired)),
        if_match,
    }
}

#[track_caller]
fn code<T: std::fmt::Debug>(result: Result<T, PeerError>) -> ErrorCode {
    result.expect_err("it is refused").code()
}
