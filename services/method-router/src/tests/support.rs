//! A method router with everything around it in memory.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::id::{ConnectionId, DeviceKey, GatewayId};
use downlink_domain::method::{MethodAnswer, MethodCall, MethodError, MethodTimeouts};
use downlink_domain::presence::{LeaseEpoch, Protocol, Subscriptions};
use downlink_ports::{
    Disconnect, GatewayApi, Gateways, MethodDelivery, Notify, PeerError, PresenceDirectory,
};
use downlink_presence_memory::MemoryPresence;
use downlink_runtime::Lifecycle;
use downlink_runtime::telemetry::Metrics;
use downlink_testkit::{a_hub, an_identity, noon};
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::{MethodDeps, MethodOptions, MethodRouter};

pub(super) const DEVICE: DeviceKey = DeviceKey(7);

type Behaviour = Box<
    dyn Fn(MethodDelivery) -> BoxFuture<'static, Result<MethodAnswer, MethodError>> + Send + Sync,
>;

/// A gateway that does with calls what the test says, and writes them down.
pub(super) struct FakeGateway {
    behaviour: Behaviour,
    pub(super) calls: Mutex<Vec<MethodDelivery>>,
}

#[async_trait]
impl GatewayApi for FakeGateway {
    async fn wake(&self, _devices: Vec<DeviceKey>) -> Result<(), PeerError> {
        Ok(())
    }

    async fn invoke(&self, delivery: MethodDelivery) -> Result<MethodAnswer, MethodError> {
        self.calls.lock().push(delivery.clone());
        (self.behaviour)(delivery).await
    }

    async fn notify(&self, _changes: Vec<Notify>) -> Result<(), PeerError> {
        Ok(())
    }

    async fn disconnect(&self, _orders: Vec<Disconnect>) -> Result<(), PeerError> {
        Ok(())
    }
}

struct OneGateway(Arc<FakeGateway>);

impl Gateways for OneGateway {
    fn find(&self, gateway: &GatewayId) -> Option<Arc<dyn GatewayApi>> {
        let gateway_api: Arc<dyn GatewayApi> = self.0.clone();
        (*gateway == gateway_id("gateway-a")).then_some(gateway_api)
    }
}

pub(super) fn gateway_id(text: &str) -> GatewayId {
    text.parse().unwrap()
}

/// A running router and its surroundings.
pub(super) struct Bench {
    pub(super) router: MethodRouter,
    pub(super) presence: MemoryPresence,
    pub(super) gateway: Arc<FakeGateway>,
    pub(super) lifecycle: Lifecycle,
    pub(super) metrics: Metrics,
}

impl Bench {
    /// Starts with a gateway that does with calls what `behaviour` says.
    pub(super) fn start<F>(behaviour: impl Fn(MethodDelivery) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = Result<MethodAnswer, MethodError>> + Send + 'static,
    {
        Self::start_with(MethodOptions::default(), behaviour)
    }

    pub(super) fn start_with<F>(
        options: MethodOptions,
        behaviour: impl Fn(MethodDelivery) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<MethodAnswer, MethodError>> + Send + 'static,
    {
        options.validate().unwrap();
        let presence = MemoryPresence::new(noon());
        let gateway = Arc::new(FakeGateway {
            behaviour: Box::new(move |delivery| Box::pin(behaviour(delivery))),
            calls: Mutex::default(),
        });
        let lifecycle = Lifecycle::new();
        let metrics = Metrics::new("downlink-method-router").unwrap();
        let deps = MethodDeps {
            presence: Arc::new(presence.clone()),
            gateways: Arc::new(OneGateway(Arc::clone(&gateway))),
            meter: metrics.meter("method_router"),
        };
        Self {
            router: MethodRouter::start(options, deps, &lifecycle),
            presence,
            gateway,
            lifecycle,
            metrics,
        }
    }

    /// Connects the device to `gateway` without any subscription.
    pub(super) async fn connect_to(&self, gateway: &str) -> LeaseEpoch {
        let connection = ConnectionId(1);
        let connected =
            self.presence
                .connect(DEVICE, gateway_id(gateway), connection, Protocol::Mqtt);
        connected.await.unwrap().epoch
    }

    /// Has the connection answer methods.
    pub(super) async fn subscribe(&self, epoch: LeaseEpoch) {
        let subscriptions = Subscriptions {
            methods: true,
            ..Subscriptions::default()
        };
        let subscribed = self.presence.subscribe(DEVICE, epoch, subscriptions);
        subscribed.await.unwrap();
    }

    /// Ends the connection.
    pub(super) async fn leave(&self, epoch: LeaseEpoch) {
        let left = self.presence.disconnect(vec![(DEVICE, epoch)]);
        left.await.unwrap();
    }

    /// Connects the device to the known gateway and has it answer methods.
    pub(super) async fn bring_online(&self) -> LeaseEpoch {
        let epoch = self.connect_to("gateway-a").await;
        self.subscribe(epoch).await;
        epoch
    }

    pub(super) fn call_count(&self) -> usize {
        self.gateway.calls.lock().len()
    }

    /// How many calls had this outcome.
    pub(super) fn counted(&self, outcome: &str) -> u64 {
        let text = String::from_utf8(self.metrics.render().unwrap()).unwrap();
        let series = format!("downlink_method_router_calls_total{{outcome=\"{outcome}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.unwrap_or_else(|| panic!("{series} is not in\n{text}"))
            .parse()
            .unwrap()
    }
}

/// A call with the two timeouts in seconds.
#[track_caller]
pub(super) fn a_call(connect: u64, response: u64) -> MethodCall {
    let seconds = Duration::from_secs;
    MethodCall {
        hub: a_hub(),
        target: an_identity("dev-1"),
        device: DEVICE,
        name: "reboot".parse().unwrap(),
        payload: Bytes::from_static(b"{\"delay\":3}"),
        timeouts: MethodTimeouts::new(seconds(connect), seconds(response)).unwrap(),
    }
}

#[expect(
    clippy::unnecessary_wraps,
    reason = "tests compare it with the outcome of a call"
)]
pub(super) fn answer(status: i32, payload: impl Into<Bytes>) -> Result<MethodAnswer, MethodError> {
    Ok(MethodAnswer {
        status,
        payload: payload.into(),
    })
}

/// The behaviour of a device that answers at once with what it was sent.
pub(super) async fn echo(delivery: MethodDelivery) -> Result<MethodAnswer, MethodError> {
    answer(200, delivery.payload)
}
