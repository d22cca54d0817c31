//! A queue service with everything around it in memory.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::device::DeviceStatus;
use downlink_domain::id::{ConnectionId, DeviceKey, GatewayId, LockToken};
use downlink_domain::message::feedback::FeedbackStatus;
use downlink_domain::message::{AckMode, Message, NewMessage, Settlement, Verdict};
use downlink_domain::method::{MethodAnswer, MethodError};
use downlink_domain::presence::{LeaseEpoch, Protocol, Subscriptions};
use downlink_ports::{
    Clock, DeviceRegistry, Disconnect, EventOutbox, GatewayApi, Gateways, LockedMessage,
    MethodDelivery, Notify, PeerError, PresenceDirectory, QueueApi, ReceiveCall, SettleError,
};
use downlink_presence_memory::MemoryPresence;
use downlink_runtime::Lifecycle;
use downlink_runtime::telemetry::Metrics;
use downlink_testkit::{
    CountingIds, ManualClock, MemoryStore, a_device_spec, a_hub, a_message_to, an_identity, noon,
    somebody,
};
use tokio::sync::{Mutex, mpsc};

use crate::{QueueDeps, QueueOptions, QueueService};

pub(crate) const DEVICE: &str = "dev-1";

/// The only gateway: it writes down whom it was told to wake.
struct RecordingGateway {
    woken: mpsc::Sender<Vec<DeviceKey>>,
}

#[async_trait]
impl GatewayApi for RecordingGateway {
    async fn wake(&self, devices: Vec<DeviceKey>) -> Result<(), PeerError> {
        let gone = |_| PeerError::Unavailable { service: "gateway" };
        self.woken.send(devices).await.map_err(gone)
    }

    async fn invoke(&self, _delivery: MethodDelivery) -> Result<MethodAnswer, MethodError> {
        Err(MethodError::NotOnline)
    }

    async fn notify(&self, _changes: Vec<Notify>) -> Result<(), PeerError> {
        Ok(())
    }

    async fn disconnect(&self, _orders: Vec<Disconnect>) -> Result<(), PeerError> {
        Ok(())
    }
}

struct OneGateway(Arc<dyn GatewayApi>);

impl Gateways for OneGateway {
    fn find(&self, gateway: &GatewayId) -> Option<Arc<dyn GatewayApi>> {
        (*gateway == gateway_id()).then(|| Arc::clone(&self.0))
    }
}

pub(crate) fn gateway_id() -> GatewayId {
    "gateway-a".parse().unwrap()
}

/// A running service and its surroundings.
pub(crate) struct Bench {
    pub(crate) service: QueueService,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) presence: MemoryPresence,
    pub(crate) clock: ManualClock,
    pub(crate) lifecycle: Lifecycle,
    pub(crate) metrics: Metrics,
    woken: Mutex<mpsc::Receiver<Vec<DeviceKey>>>,
}

impl Bench {
    pub(crate) fn start() -> Self {
        Self::start_with(QueueOptions::default())
    }

    pub(crate) fn start_with(options: QueueOptions) -> Self {
        Self::start_changed(options, |_| {})
    }

    /// Starts with other collaborators than the usual ones.
    pub(crate) fn start_changed(
        options: QueueOptions,
        change: impl FnOnce(&mut QueueDeps),
    ) -> Self {
        Self::start_with_store(options, |_, deps| change(deps))
    }

    /// As [`Self::start_changed`], with the store at hand.
    pub(crate) fn start_with_store(
        options: QueueOptions,
        change: impl FnOnce(&Arc<MemoryStore>, &mut QueueDeps),
    ) -> Self {
        options.validate().unwrap();
        let store = Arc::new(MemoryStore::new());
        let presence = MemoryPresence::new(noon());
        let clock = ManualClock::default();
        let lifecycle = Lifecycle::new();
        let metrics = Metrics::new("downlink-queue").unwrap();
        let (sender, woken) = mpsc::channel(1);
        let mut deps = QueueDeps {
            messages: store.clone(),
            feedback: store.clone(),
            outbox: store.clone(),
            relay: None,
            presence: Arc::new(presence.clone()),
            gateways: Arc::new(OneGateway(Arc::new(RecordingGateway { woken: sender }))),
            clock: Arc::new(clock.clone()),
            ids: Arc::new(CountingIds::default()),
            meter: metrics.meter("queue"),
        };
        change(&store, &mut deps);
        Self {
            service: QueueService::start(options, deps, &lifecycle),
            store,
            presence,
            clock,
            lifecycle,
            metrics,
            woken: Mutex::new(woken),
        }
    }

    /// Registers a device.
    pub(crate) async fn register(&self, device: &str) -> DeviceKey {
        let (name, spec, now) = (an_identity(device), a_device_spec(), self.clock.now());
        let created = self
            .store
            .create(a_hub(), name, spec, somebody(), now)
            .await;
        created.unwrap().unwrap().key
    }

    /// Registers a device that may not connect.
    pub(crate) async fn register_disabled(&self, device: &str) {
        let mut spec = a_device_spec();
        spec.status = DeviceStatus::Disabled;
        let (name, now) = (an_identity(device), self.clock.now());
        let created = self
            .store
            .create(a_hub(), name, spec, somebody(), now)
            .await;
        created.unwrap().unwrap();
    }

    /// Connects a device to the gateway.
    pub(crate) async fn connect(
        &self,
        device: DeviceKey,
        subscriptions: Subscriptions,
    ) -> LeaseEpoch {
        let connection = ConnectionId(1);
        let connected = self
            .presence
            .connect(device, gateway_id(), connection, Protocol::Mqtt)
            .await
            .unwrap();
        self.presence
            .subscribe(device, connected.epoch, subscriptions)
            .await
            .unwrap();
        connected.epoch
    }

    /// Sends one message that must be accepted.
    pub(crate) async fn send(&self, message: NewMessage) {
        let answers = self.service.enqueue(vec![message]).await.unwrap();
        assert!(answers[0].is_ok(), "{answers:?}");
    }

    /// Receives up to `limit` messages of a device.
    pub(crate) async fn receive(&self, device: DeviceKey, limit: u16) -> Vec<LockedMessage> {
        let call = ReceiveCall {
            device,
            limit,
            lock_duration: None,
        };
        self.service.receive(vec![call]).await.unwrap().remove(0)
    }

    /// Receives the one message that must be there.
    pub(crate) async fn receive_one(&self, device: DeviceKey) -> LockedMessage {
        self.receive(device, 1)
            .await
            .pop()
            .expect("a message waits")
    }

    /// Settles one held message.
    pub(crate) async fn settle(
        &self,
        held: &LockedMessage,
        verdict: Verdict,
    ) -> Result<(), SettleError> {
        let settlement = settlement(&held.message, held.lock.token, verdict);
        self.service
            .settle(vec![settlement])
            .await
            .unwrap()
            .remove(0)
    }

    /// Waits until the outbox is empty.
    pub(crate) async fn outbox_is_empty(&self) {
        while !self.store.read_after(0, 1).await.unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    }

    /// Messages waiting for a device.
    pub(crate) async fn count(&self, device: DeviceKey) -> u64 {
        self.service.count(vec![device]).await.unwrap()[0]
    }

    /// The next wake-up.
    pub(crate) async fn next_wake(&self) -> Vec<DeviceKey> {
        self.woken
            .lock()
            .await
            .recv()
            .await
            .expect("the gateway lives")
    }

    /// Wake-ups that are there after everything that can run has run.
    pub(crate) async fn wakes_so_far(&self) -> Vec<DeviceKey> {
        settle_down().await;
        let mut woken = self.woken.lock().await;
        let mut devices = Vec::new();
        while let Ok(more) = woken.try_recv() {
            devices.extend(more);
            settle_down().await;
        }
        devices
    }

    /// Carries `work` out while the clock runs in steps of 100 ms.
    pub(crate) async fn while_time_passes<T>(&self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        for _ in 0..100_000 {
            if let std::task::Poll::Ready(done) = futures::poll!(work.as_mut()) {
                return done;
            }
            self.clock.advance(Duration::from_millis(100));
            settle_down().await;
        }
        panic!("the work did not end within ten thousand seconds of the clock");
    }

    /// The outcomes in the next feedback batch, completed; waits as long as it takes.
    pub(crate) async fn next_feedback(&self) -> Vec<(String, FeedbackStatus)> {
        let receive = async {
            loop {
                let wait = Duration::from_mins(1);
                let batch = self.service.receive_feedback(a_hub(), wait).await.unwrap();
                if let Some(batch) = batch {
                    return batch;
                }
            }
        };
        let batch = self.while_time_passes(receive).await;
        let settled = self
            .service
            .settle_feedback(a_hub(), batch.token, Verdict::Complete);
        settled.await.unwrap().unwrap();
        let records = batch.records.into_iter();
        records
            .map(|record| (record.original_message_id.unwrap(), record.status))
            .collect()
    }

    /// The value of a rendered metric line.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let text = String::from_utf8(self.metrics.render().unwrap()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        let value = line.unwrap_or_else(|| panic!("{series} is not in\n{text}"));
        value.trim().parse().unwrap()
    }
}

/// Lets every task run until it waits.
pub(crate) async fn settle_down() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

pub(crate) fn settlement(message: &Message, token: LockToken, verdict: Verdict) -> Settlement {
    Settlement {
        device: message.device,
        sequence: message.sequence,
        token,
        verdict,
    }
}

/// A message to [`DEVICE`] that wants to hear of every outcome.
pub(crate) fn watched(body: &'static str) -> NewMessage {
    NewMessage {
        ack: AckMode::Full,
        ..a_message_to(DEVICE, body)
    }
}

pub(crate) fn c2d() -> Subscriptions {
    Subscriptions {
        c2d: true,
        ..Subscriptions::default()
    }
}
