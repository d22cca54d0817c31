//! Peers of a gateway under test: the service ports straight on the in-memory store, without
//! lanes, streams or sweepers. It is as long as the ports it stands in for are wide: one short
//! method for each of theirs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use downlink_auth::{Resource, sign};
use downlink_domain::ErrorCode;
use downlink_domain::access::Actor;
use downlink_domain::authority::CertificateAuthority;
use downlink_domain::device::{Authentication, Device, DeviceSpec, IfMatch};
use downlink_domain::event::{Event, EventKind};
use downlink_domain::id::{DeviceId, DeviceKey, GatewayId, HubName, IdentityName, LockToken};
use downlink_domain::message::feedback::FeedbackBatch;
use downlink_domain::message::{NewMessage, Settlement, Verdict};
use downlink_domain::method::{MethodAnswer, MethodCall, MethodError, MethodTimeouts};
use downlink_domain::policy::{Policy, default_policies};
use downlink_domain::twin::{Object, Twin, TwinChange};
use downlink_oidc::Issuers;
use downlink_ports::{
    AccessSnapshot, AccessStore, Clock, ConnectionApi, ConnectionChange, ConnectionStore,
    DeviceRegistry, EnqueueError, EnqueueRules, Enqueued, EventOutbox, FeedbackReceive,
    FeedbackStore, GatewayApi, Gateways, IdSource, LockedMessage, MessageStore, MethodApi,
    MethodDelivery, MissedChanges, Notify, OpenedDevice, PeerError, PolicyStore, PurgeOrder,
    PurgeOutcome, QueueApi, Receive, ReceiveCall, RegistryCounts, SessionStore, SettleError, Since,
    TwinApi, TwinStore, TwinView,
};
use downlink_presence_memory::MemoryPresence;
use downlink_runtime::telemetry::Metrics;
use downlink_runtime::{Lifecycle, OnError};
use downlink_testkit::{
    CountingIds, ManualClock, MemoryStore, a_device_spec, a_message_to, queue_rules, twin_rules,
};
use parking_lot::RwLock;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::access::Watcher;
use crate::audit::Audit;
use crate::authenticate::Authenticator;
use crate::connections::Connections;
use crate::keeper::{self, Kept, LeaseHealth};
use crate::limits::keeper::LimitsKeeper;
use crate::local::LocalGateway;
use crate::metrics::GatewayMetrics;
use crate::options::GatewayOptions;
use crate::passages::Passages;
use crate::peers::Peers;
use crate::shared::Shared;
use crate::watching::Watches;

mod certificates;
mod connections;
mod directory;
mod fleet;
mod issuer;
mod limits;
mod policies;
mod queries;
mod registry;

pub(crate) use self::certificates::{Authority, self_signed, thumbprints};
pub(crate) use self::directory::FrailDirectory;
pub(crate) use self::issuer::TestIssuer;

/// Time between two looks of a receiver that waits for feedback.
const FEEDBACK_LOOKS: Duration = Duration::from_millis(5);

/// A gateway of the hub `hub.test` with everything behind it in memory.
pub(crate) struct TestHub {
    pub(crate) shared: Arc<Shared>,
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) backend: Arc<Backend>,
    /// The gateway's tasks.
    pub(crate) lifecycle: Lifecycle,
    /// The task among them that writes the audit.
    pub(crate) audit_scope: Lifecycle,
    pub(crate) metrics: Metrics,
}

impl TestHub {
    /// Makes the hub with its five policies and default options.
    pub(crate) async fn new() -> Self {
        Self::with(|_| ()).await
    }

    /// Makes the hub with options changed by `change`.
    pub(crate) async fn with(change: impl FnOnce(&mut GatewayOptions)) -> Self {
        Self::made(change, |_| ()).await
    }

    /// Makes the hub with peers changed by `change`.
    pub(crate) async fn with_peers(change: impl FnOnce(&mut Peers)) -> Self {
        Self::made(|_| (), change).await
    }

    /// Makes the hub with a presence that can fail, and with options changed by `change`.
    pub(crate) async fn with_directory(
        directory: &Arc<FrailDirectory>,
        change: impl FnOnce(&mut GatewayOptions),
    ) -> Self {
        Self::made(change, |peers| {
            peers.presence = Arc::clone(directory) as _;
            peers.leases = Arc::clone(directory) as _;
        })
        .await
    }

    async fn made(
        change_options: impl FnOnce(&mut GatewayOptions),
        change_peers: impl FnOnce(&mut Peers),
    ) -> Self {
        let hub: HubName = "hub.test".parse().unwrap();
        let (store, clock) = (
            Arc::new(MemoryStore::new()),
            Arc::new(ManualClock::default()),
        );
        let policies = default_policies()
            .map(|(name, permissions)| Policy::new(name, [vec![1; 32], vec![2; 32]], permissions));
        store
            .ensure_hub(hub.clone(), policies.to_vec(), clock.now())
            .await
            .unwrap();
        let backend = Arc::new(Backend {
            store: Arc::clone(&store),
            clock: Arc::clone(&clock),
            ids: CountingIds::default(),
            gateways: RwLock::default(),
            is_down: AtomicBool::new(false),
            is_busy: AtomicBool::new(false),
            is_mute: AtomicBool::new(false),
            is_stuck: AtomicBool::new(false),
            refusal: RwLock::default(),
        });
        let presence = Arc::new(MemoryPresence::new(clock.now()));
        let mut peers = Peers {
            queue: Arc::clone(&backend) as Arc<dyn QueueApi>,
            methods: Arc::clone(&backend) as Arc<dyn MethodApi>,
            twins: Arc::clone(&backend) as Arc<dyn TwinApi>,
            registry: Arc::clone(&backend) as _,
            queries: Arc::clone(&backend) as _,
            limits: Arc::clone(&backend) as _,
            fleet: Arc::clone(&backend) as _,
            connections: Arc::clone(&backend) as Arc<dyn ConnectionApi>,
            presence: Arc::clone(&presence) as _,
            leases: Arc::clone(&presence) as _,
            polls: Arc::clone(&presence) as _,
            rates: presence,
            issuers: Arc::new(Issuers::none()),
            gateways: Arc::clone(&backend) as Arc<dyn Gateways>,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            ids: Arc::new(CountingIds::default()),
        };
        change_peers(&mut peers);
        let mut options = GatewayOptions::new("gateway-1".parse().unwrap(), hub);
        change_options(&mut options);
        Self::of(options, peers, (store, clock, backend)).await
    }

    /// Makes another gateway before the same services.
    pub(crate) async fn second(&self, id: &str) -> Self {
        let mut options = self.shared.options.clone();
        options.id = id.parse().unwrap();
        let behind = (
            Arc::clone(&self.store),
            Arc::clone(&self.clock),
            Arc::clone(&self.backend),
        );
        Self::of(options, self.shared.peers.clone(), behind).await
    }

    async fn of(
        options: GatewayOptions,
        peers: Peers,
        (store, clock, backend): (Arc<MemoryStore>, Arc<ManualClock>, Arc<Backend>),
    ) -> Self {
        let connections = Arc::new(Connections::default());
        let entry = (options.id.clone(), Arc::clone(&connections));
        backend.gateways.write().push(entry);
        let lifecycle = Lifecycle::new();
        let metrics = Metrics::new("test").unwrap();
        let watcher = Watcher::of(&options, &peers, &connections);
        let access = Arc::clone(&watcher.access);
        watcher.ask().await.unwrap();
        lifecycle.spawn_background("access watcher", OnError::Log, watcher.run());
        let gateway_metrics = GatewayMetrics::new(&metrics.meter("test"));
        let audit_scope = lifecycle.child("audit");
        let audit = Audit::start(
            &options.hub,
            &peers,
            Arc::clone(&access),
            gateway_metrics.audit.clone(),
            &audit_scope,
        );
        let metrics_of_limits = gateway_metrics.limits.clone();
        let limits = LimitsKeeper::start(&options, &peers, metrics_of_limits, &lifecycle);
        let shared = Arc::new(Shared {
            limits,
            audit,
            authenticator: Authenticator::new(&options, Arc::clone(&access), &peers),
            access,
            passages: Passages::start(
                &options.id,
                peers.clone(),
                Arc::clone(&connections),
                gateway_metrics.reports.clone(),
                &lifecycle.child("passages"),
            ),
            metrics: gateway_metrics,
            connections,
            standing: Arc::default(),
            pollers: Arc::default(),
            watches: Watches::start(&options.grpc, &peers, &lifecycle),
            lifecycle: lifecycle.child("connections"),
            peers,
            options,
        });
        Self {
            shared,
            store,
            clock,
            backend,
            lifecycle,
            audit_scope,
            metrics,
        }
    }

    /// Starts the keeper of the lease.
    pub(crate) fn keep_lease(&self) -> watch::Receiver<LeaseHealth> {
        let health = watch::Sender::new(LeaseHealth::Waiting);
        let told = health.subscribe();
        let kept = Kept {
            connections: Arc::clone(&self.shared.connections),
            standing: Arc::clone(&self.shared.standing),
            health,
            metrics: self.shared.metrics.lease.clone(),
            reports: self.shared.passages.reports(),
        };
        let (options, peers) = (&self.shared.options, &self.shared.peers);
        keeper::start(options, peers, kept, &self.lifecycle);
        told
    }

    /// The gateway as the other services see it.
    pub(crate) fn api(&self) -> LocalGateway {
        LocalGateway::new(Arc::clone(&self.shared.connections))
    }

    /// Waits until the end of a connection has been worked off.
    pub(crate) async fn until_gone(&self, device: &Device) {
        while self.shared.connections.find(device.key).is_some() {
            tokio::task::yield_now().await;
        }
    }

    /// The value of a rendered metric line.
    pub(crate) fn metric(&self, series: &str) -> u64 {
        let text = String::from_utf8(self.metrics.render().unwrap()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        let value = line.unwrap_or_else(|| panic!("{series} is not in\n{text}"));
        value.trim().parse().unwrap()
    }

    /// Registers a device with keys.
    pub(crate) async fn device(&self, id: &str) -> Device {
        let name = IdentityName::from(id.parse::<DeviceId>().unwrap());
        let hub = self.shared.options.hub.clone();
        let made = self
            .store
            .create(
                hub,
                name,
                a_device_spec(),
                Actor::operator(),
                self.clock.now(),
            )
            .await;
        made.unwrap().unwrap()
    }

    /// Deletes a device and orders nobody to disconnect.
    pub(crate) async fn delete_unannounced(&self, device: &Device) {
        let (hub, name, now) = (device.hub.clone(), device.name.clone(), self.clock.now());
        let deleted = self
            .store
            .delete(hub, name, IfMatch::Any, Actor::operator(), now)
            .await;
        deleted.unwrap().unwrap();
    }

    /// Changes a device and orders nobody to disconnect.
    pub(crate) async fn change_unannounced(
        &self,
        device: &Device,
        change: impl FnOnce(&mut DeviceSpec),
    ) {
        let mut spec = a_device_spec();
        spec.authentication = device.authentication.clone();
        change(&mut spec);
        let (hub, name, now) = (device.hub.clone(), device.name.clone(), self.clock.now());
        let changed = self
            .store
            .replace(hub, name, spec, IfMatch::Any, Actor::operator(), now)
            .await;
        changed.unwrap().unwrap();
    }

    /// Stores a message and wakes nobody.
    pub(crate) async fn send_unannounced(&self, device: &Device) {
        let mut message = a_message_to(device.name.device.as_str(), "unannounced");
        message.hub = device.hub.clone();
        let now = self.clock.now();
        message.expiry = Some(now + Duration::from_hours(1));
        let rules = EnqueueRules { max_depth: 50 };
        let accepted = self.store.enqueue(vec![message], rules, now).await;
        accepted.unwrap().remove(0).unwrap();
    }

    /// A token of the device's first key, good for an hour.
    pub(crate) fn device_token(&self, device: &Device) -> String {
        let Authentication::Sas(keys) = &device.authentication else {
            panic!("no keys")
        };
        let resource = Resource::Device {
            device_id: device.name.device.as_str(),
        };
        sign(
            &resource.uri("hub.test"),
            &keys.primary,
            self.in_an_hour(),
            None,
        )
    }

    /// A token of a policy for the whole hub, good for an hour.
    pub(crate) fn policy_token(&self, policy: &str) -> String {
        sign("hub.test", &[1; 32], self.in_an_hour(), Some(policy))
    }

    fn in_an_hour(&self) -> i64 {
        self.clock.now().as_seconds() + 3600
    }

    /// Calls a method of the device, as a back-end would, from a task of its own.
    #[expect(clippy::disallowed_methods, reason = "the test awaits the task itself")]
    pub(crate) fn call(
        &self,
        device: &Device,
        name: &str,
        payload: impl Into<Bytes>,
    ) -> JoinHandle<Result<MethodAnswer, MethodError>> {
        let timeouts = MethodTimeouts::new(Duration::ZERO, Duration::from_secs(30));
        let call = MethodCall {
            hub: device.hub.clone(),
            target: device.name.clone(),
            device: device.key,
            name: name.parse().expect("a valid name"),
            payload: payload.into(),
            timeouts: timeouts.expect("valid timeouts"),
        };
        let methods = Arc::clone(&self.shared.peers.methods);
        tokio::spawn(async move { methods.invoke(call).await })
    }

    /// Changes desired properties of the device, as a back-end would.
    pub(crate) async fn patch_desired(&self, device: &Device, desired: Value) {
        let desired: Object = serde_json::from_value(desired).expect("a JSON object");
        let change = TwinChange::Patch {
            tags: None,
            desired: Some(desired),
            if_match: IfMatch::Any,
        };
        let (hub, name) = (device.hub.clone(), device.name.clone());
        let twins = &self.shared.peers.twins;
        twins.update_twin(hub, name, change).await.unwrap();
    }

    /// Telemetry stored so far.
    pub(crate) async fn telemetry(&self) -> Vec<Event> {
        let events = self.store.read_after(0, 1000).await.unwrap();
        let events = events.into_iter().map(|(_, event)| event);
        events
            .filter(|event| event.kind == EventKind::Telemetry)
            .collect()
    }
}

/// All three services in one object.
pub(crate) struct Backend {
    store: Arc<MemoryStore>,
    clock: Arc<ManualClock>,
    ids: CountingIds,
    gateways: RwLock<Vec<(GatewayId, Arc<Connections>)>>,
    is_down: AtomicBool,
    is_busy: AtomicBool,
    is_mute: AtomicBool,
    is_stuck: AtomicBool,
    refusal: RwLock<Option<ErrorCode>>,
}

impl Backend {
    /// From now on every call is refused for this cause.
    pub(crate) fn refuse(&self, code: ErrorCode) {
        *self.refusal.write() = Some(code);
    }

    /// From now on policies are never answered, or they are again.
    pub(crate) fn set_mute(&self, is_mute: bool) {
        self.is_mute.store(is_mute, Ordering::SeqCst);
    }

    /// From now on no connection event is ever recorded, or they are again.
    pub(crate) fn set_stuck(&self, is_stuck: bool) {
        self.is_stuck.store(is_stuck, Ordering::SeqCst);
    }

    /// From now on every call fails as unavailable, or no longer does.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    /// From now on every call is refused as one too many, or no longer is.
    pub(crate) fn set_busy(&self, is_busy: bool) {
        self.is_busy.store(is_busy, Ordering::SeqCst);
    }

    fn check(&self) -> Result<(), PeerError> {
        if self.is_busy.load(Ordering::SeqCst) {
            return Err(PeerError::Overloaded { service: "test" });
        }
        if self.is_down.load(Ordering::SeqCst) {
            return Err(PeerError::Unavailable { service: "test" });
        }
        match *self.refusal.read() {
            Some(code) => Err(PeerError::refused(code, &"the test refuses")),
            None => Ok(()),
        }
    }

    async fn wake(&self, devices: Vec<DeviceKey>) {
        for (_, connections) in self.gateways() {
            let local = LocalGateway::new(connections);
            local.wake(devices.clone()).await.unwrap();
        }
    }

    fn gateways(&self) -> Vec<(GatewayId, Arc<Connections>)> {
        self.gateways.read().clone()
    }

    /// From now on a gateway cannot be found.
    pub(crate) fn forget_gateway(&self, id: &GatewayId) {
        self.gateways.write().retain(|(known, _)| known != id);
    }
}

impl Gateways for Backend {
    fn find(&self, gateway: &GatewayId) -> Option<Arc<dyn GatewayApi>> {
        let known = self.gateways.read();
        let (_, connections) = known.iter().find(|(id, _)| id == gateway)?;
        Some(Arc::new(LocalGateway::new(Arc::clone(connections))))
    }
}

fn no_device(name: &dyn std::fmt::Display) -> PeerError {
    PeerError::refused(
        ErrorCode::DeviceNotFound,
        &format!("device {name} is not registered"),
    )
}

#[async_trait]
impl QueueApi for Backend {
    async fn enqueue(
        &self,
        mut messages: Vec<NewMessage>,
    ) -> Result<Vec<Result<Enqueued, EnqueueError>>, PeerError> {
        self.check()?;
        let now = self.clock.now();
        for message in &mut messages {
            message.expiry.get_or_insert(now + Duration::from_hours(1));
        }
        let rules = EnqueueRules { max_depth: 50 };
        let enqueued = self.store.enqueue(messages, rules, now).await?;
        self.wake(
            enqueued
                .iter()
                .flatten()
                .map(|accepted| accepted.device)
                .collect(),
        )
        .await;
        Ok(enqueued)
    }

    async fn receive(&self, calls: Vec<ReceiveCall>) -> Result<Vec<Vec<LockedMessage>>, PeerError> {
        self.check()?;
        let now = self.clock.now();
        let requests = calls.into_iter().map(|call| Receive {
            device: call.device,
            tokens: (0..call.limit).map(|_| self.ids.lock_token()).collect(),
            locked_until: now + call.lock_duration.unwrap_or(Duration::from_mins(1)),
        });
        Ok(self
            .store
            .receive(requests.collect(), queue_rules(), now)
            .await?)
    }

    async fn settle(
        &self,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<Result<(), SettleError>>, PeerError> {
        self.check()?;
        let devices = settlements
            .iter()
            .map(|settlement| settlement.device)
            .collect();
        let outcomes = self
            .store
            .settle(settlements, queue_rules(), self.clock.now())
            .await?;
        self.wake(devices).await;
        Ok(outcomes)
    }

    async fn record_events(&self, events: Vec<Event>) -> Result<(), PeerError> {
        self.check()?;
        Ok(self.store.append(events).await?)
    }

    async fn purge(
        &self,
        hub: HubName,
        device: DeviceId,
        by: Actor,
    ) -> Result<PurgeOutcome, PeerError> {
        self.check()?;
        let at = self.clock.now();
        let order = PurgeOrder {
            hub,
            device: device.clone(),
            by,
            audit_id: self.ids.record_id(at),
            at,
        };
        let purged = self.store.purge(order, queue_rules()).await?;
        purged.ok_or_else(|| no_device(&device))
    }

    async fn count(&self, devices: Vec<DeviceKey>) -> Result<Vec<u64>, PeerError> {
        self.check()?;
        Ok(self.store.count(devices, self.clock.now()).await?)
    }

    async fn receive_feedback(
        &self,
        hub: HubName,
        wait: Duration,
    ) -> Result<Option<FeedbackBatch>, PeerError> {
        self.check()?;
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let now = self.clock.now();
            let request = FeedbackReceive {
                token: self.ids.lock_token(),
                locked_until: now + Duration::from_mins(1),
                flush_count: 1,
                flush_interval: Duration::ZERO,
                max_delivery_count: 10,
            };
            let batch = self
                .store
                .receive_feedback(hub.clone(), request, now)
                .await?;
            // Also when a batch was locked: the way back takes a while.
            tokio::time::sleep(FEEDBACK_LOOKS).await;
            if batch.is_some() || tokio::time::Instant::now() >= deadline {
                return Ok(batch);
            }
        }
    }

    async fn settle_feedback(
        &self,
        hub: HubName,
        token: LockToken,
        verdict: Verdict,
    ) -> Result<Result<(), SettleError>, PeerError> {
        self.check()?;
        Ok(self
            .store
            .settle_feedback(hub, token, verdict, self.clock.now())
            .await?)
    }
}

#[async_trait]
impl MethodApi for Backend {
    async fn invoke(&self, call: MethodCall) -> Result<MethodAnswer, MethodError> {
        self.check().map_err(|_| MethodError::Unavailable)?;
        let held = self
            .gateways()
            .into_iter()
            .find_map(|(_, connections)| Some((connections.find(call.device)?, connections)));
        let (handle, connections) = held.ok_or(MethodError::NotOnline)?;
        let delivery = MethodDelivery {
            device: call.device,
            epoch: handle.epoch,
            name: call.name,
            payload: call.payload,
            timeout: call.timeouts.response(),
        };
        LocalGateway::new(connections).invoke(delivery).await
    }
}

#[async_trait]
impl TwinApi for Backend {
    async fn open_device(
        &self,
        hub: HubName,
        name: IdentityName,
    ) -> Result<Option<OpenedDevice>, PeerError> {
        self.check()?;
        let Some(device) = self.find_device(hub, name).await? else {
            return Ok(None);
        };
        let session = self.store.find_session(device.key).await?;
        Ok(Some(OpenedDevice { device, session }))
    }

    async fn save_sessions(
        &self,
        sessions: Vec<(DeviceKey, Option<Bytes>)>,
    ) -> Result<(), PeerError> {
        self.check()?;
        Ok(self.store.save_sessions(sessions).await?)
    }

    async fn record_connections(&self, changes: Vec<ConnectionChange>) -> Result<(), PeerError> {
        self.check()?;
        if self.is_stuck.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(self.store.record_connections(changes).await?)
    }

    async fn put_device(
        &self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<Device, PeerError> {
        self.check()?;
        let now = self.clock.now();
        let store = &self.store;
        let written = if if_match == IfMatch::Absent {
            store.create(hub, name, spec, by, now).await?
        } else {
            store.replace(hub, name, spec, if_match, by, now).await?
        };
        written.map_err(|error| PeerError::refused(error.code(), &error))
    }

    async fn delete_device(
        &self,
        hub: HubName,
        name: IdentityName,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<(), PeerError> {
        self.check()?;
        let deleted = self
            .store
            .delete(hub, name, if_match, by, self.clock.now())
            .await?;
        deleted
            .map(|_| ())
            .map_err(|error| PeerError::refused(error.code(), &error))
    }

    async fn find_device(
        &self,
        hub: HubName,
        name: IdentityName,
    ) -> Result<Option<Device>, PeerError> {
        self.check()?;
        Ok(self.store.find(hub, vec![name]).await?.pop().flatten())
    }

    async fn list_devices(&self, hub: HubName, limit: u32) -> Result<Vec<Device>, PeerError> {
        self.check()?;
        Ok(self.store.list(hub, limit).await?)
    }

    async fn count_devices(&self, hub: HubName) -> Result<RegistryCounts, PeerError> {
        self.check()?;
        Ok(self.store.counts(hub).await?)
    }

    async fn get_twin(&self, hub: HubName, name: IdentityName) -> Result<TwinView, PeerError> {
        let found = self.find_device(hub, name.clone()).await?;
        let device = found.ok_or_else(|| no_device(&name))?;
        let twin = self.get_own_twin(device.key).await?;
        Ok(TwinView { device, twin })
    }

    async fn update_twin(
        &self,
        hub: HubName,
        name: IdentityName,
        change: TwinChange,
    ) -> Result<TwinView, PeerError> {
        let device = self.get_twin(hub, name.clone()).await?.device;
        let changes = vec![(device.key, change)];
        let mut written = self
            .store
            .update_twins(changes, twin_rules(), self.clock.now())
            .await?;
        let written = written.pop().flatten().ok_or_else(|| no_device(&name))?;
        let written = written.map_err(|error| PeerError::refused(error.code(), &error))?;
        if let Some(told) = written.notification {
            let body = serde_json::to_vec(&told.body).unwrap().into();
            let change = Notify {
                device: device.key,
                version: told.version,
                body,
            };
            for (_, connections) in self.gateways() {
                let local = LocalGateway::new(connections);
                local.notify(vec![change.clone()]).await?;
            }
        }
        Ok(TwinView {
            device,
            twin: written.twin,
        })
    }

    async fn get_own_twin(&self, device: DeviceKey) -> Result<Twin, PeerError> {
        self.check()?;
        let twin = self.store.find_twins(vec![device]).await?.pop().flatten();
        twin.ok_or_else(|| no_device(&device))
    }

    async fn missed_changes(
        &self,
        device: DeviceKey,
        since: Since,
    ) -> Result<MissedChanges, PeerError> {
        let twin = self.get_own_twin(device).await?;
        let found = self.store.find_changes(vec![(device, since)]).await?.pop();
        let found = found.flatten().ok_or_else(|| no_device(&device))?;
        let since = found.since;
        let whole = || MissedChanges::whole(&twin.desired, since);
        Ok(MissedChanges::every(found).unwrap_or_else(whole))
    }

    async fn note_told(&self, told: Vec<(DeviceKey, u64)>) -> Result<(), PeerError> {
        self.check()?;
        Ok(self.store.note_told(told).await?)
    }

    async fn find_twin_versions(
        &self,
        devices: Vec<DeviceKey>,
    ) -> Result<Vec<Option<u64>>, PeerError> {
        self.check()?;
        Ok(self.store.find_twin_versions(devices).await?)
    }

    async fn report(&self, device: DeviceKey, change: TwinChange) -> Result<u64, PeerError> {
        self.check()?;
        let changes = vec![(device, change)];
        let mut written = self
            .store
            .update_twins(changes, twin_rules(), self.clock.now())
            .await?;
        let written = written.pop().flatten().ok_or_else(|| no_device(&device))?;
        let written = written.map_err(|error| PeerError::refused(error.code(), &error))?;
        Ok(written.twin.reported.version)
    }

    async fn access(
        &self,
        hub: HubName,
        known: Option<u64>,
    ) -> Result<Option<AccessSnapshot>, PeerError> {
        self.check()?;
        if self.is_mute.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(self.store.access(hub, known).await?)
    }

    async fn put_policy(
        &self,
        hub: HubName,
        policy: Policy,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<Policy, PeerError> {
        self.check()?;
        let now = self.clock.now();
        let put = self.store.put_policy(hub, policy, if_match, by, now);
        put.await?
            .map_err(|error| PeerError::refused(error.code(), &error))
    }

    async fn delete_policy(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<(), PeerError> {
        self.check()?;
        let now = self.clock.now();
        let deleted = self.store.delete_policy(hub, name, if_match, by, now);
        deleted
            .await?
            .map_err(|error| PeerError::refused(error.code(), &error))
    }

    async fn put_authority(
        &self,
        hub: HubName,
        authority: CertificateAuthority,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<CertificateAuthority, PeerError> {
        self.check()?;
        let now = self.clock.now();
        let put = self.store.put_authority(hub, authority, if_match, by, now);
        put.await?
            .map_err(|error| PeerError::refused(error.code(), &error))
    }

    async fn delete_authority(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<(), PeerError> {
        self.check()?;
        let now = self.clock.now();
        let deleted = self.store.delete_authority(hub, name, if_match, by, now);
        deleted
            .await?
            .map_err(|error| PeerError::refused(error.code(), &error))
    }
}
