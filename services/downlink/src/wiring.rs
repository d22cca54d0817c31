//! Starts the four services and joins them by gRPC carried in memory.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use downlink_domain::id::{GatewayId, HubName};
use downlink_gateway::{Gateway, Peers};
use downlink_method_router::{MethodDeps, MethodOptions, MethodRouter};
use downlink_ports::{
    Clock, GatewayApi, Gateways, IdSource, MethodApi, PresenceDirectory, QueueApi, TwinApi,
};
use downlink_presence_memory::MemoryPresence;
use downlink_queue::{QueueDeps, QueueOptions, QueueService};
use downlink_rpc::{
    GatewayPool, GrpcGatewayClient, GrpcMethodClient, GrpcQueueClient, GrpcTwinClient, MuxOptions,
    Services, in_process,
};
use downlink_runtime::Lifecycle;
use downlink_runtime::telemetry::Metrics;
use downlink_store_embedded::{Store, StoreOptions};
use downlink_twin::{TwinDeps, TwinOptions};

/// What the services are told.
pub struct Options {
    /// The store.
    pub store: StoreOptions,
    /// The queue service.
    pub queue: QueueOptions,
    /// The method-router service.
    pub methods: MethodOptions,
    /// The twin service.
    pub twins: TwinOptions,
}

/// What every service stands on.
pub struct Ground {
    /// The store.
    pub store: Arc<Store>,
    /// The business clock.
    pub clock: Arc<dyn Clock>,
    /// Ids and secrets.
    pub ids: Arc<dyn IdSource>,
    /// Where instruments are declared.
    pub metrics: Metrics,
}

/// Opens the store in `folder`. Its scope is the oldest and drains last.
///
/// # Errors
/// One line that says what is wrong with the file.
pub async fn open_store(
    folder: &Path,
    options: StoreOptions,
    lifecycle: &Lifecycle,
) -> anyhow::Result<Arc<Store>> {
    let scope = lifecycle.child("store");
    let path = folder.join("hub.db");
    Store::open(&path, options, &scope)
        .await
        .with_context(|| format!("{}", path.display()))
}

/// Starts the services behind the gateway and returns how a gateway calls them.
///
/// Scopes drain newest first: the gateway, which calls all others, is to be started last.
pub fn start_services(
    ground: &Ground,
    options: Options,
    gateway: (&GatewayId, &Gateway),
    lifecycle: &Lifecycle,
) -> Peers {
    let presence: Arc<dyn PresenceDirectory> = Arc::new(MemoryPresence::new(ground.clock.now()));
    let pool = GatewayPool::new();
    let carriers = lifecycle.child("carriers");
    pool.register(gateway.0.clone(), carry_gateway(gateway.1.api(), &carriers));
    let gateways: Arc<dyn Gateways> = Arc::new(pool);

    let twins = downlink_twin::start(
        &options.twins,
        TwinDeps {
            registry: Arc::clone(&ground.store) as _,
            twins: Arc::clone(&ground.store) as _,
            sessions: Arc::clone(&ground.store) as _,
            policies: Arc::clone(&ground.store) as _,
            presence: Arc::clone(&presence),
            gateways: Arc::clone(&gateways),
            clock: Arc::clone(&ground.clock),
            ids: Arc::clone(&ground.ids),
            meter: ground.metrics.meter("downlink.twin"),
        },
        &lifecycle.child("twin"),
    );
    let queue = QueueService::start(
        options.queue,
        QueueDeps {
            messages: Arc::clone(&ground.store) as _,
            feedback: Arc::clone(&ground.store) as _,
            outbox: Arc::clone(&ground.store) as _,
            presence: Arc::clone(&presence),
            gateways: Arc::clone(&gateways),
            clock: Arc::clone(&ground.clock),
            ids: Arc::clone(&ground.ids),
            meter: ground.metrics.meter("downlink.queue"),
        },
        &lifecycle.child("queue"),
    );
    let methods = MethodRouter::start(
        options.methods,
        MethodDeps {
            presence: Arc::clone(&presence),
            gateways: Arc::clone(&gateways),
            meter: ground.metrics.meter("downlink.method-router"),
        },
        &lifecycle.child("method-router"),
    );
    Peers {
        queue: carry_queue(Arc::new(queue), &carriers),
        methods: carry_methods(Arc::new(methods), &carriers),
        twins: carry_twins(twins, &carriers),
        presence,
        gateways,
        clock: Arc::clone(&ground.clock),
        ids: Arc::clone(&ground.ids),
    }
}

fn carry_queue(api: Arc<dyn QueueApi>, lifecycle: &Lifecycle) -> Arc<dyn QueueApi> {
    let (endpoint, acceptor) = in_process();
    Services::new(lifecycle).with_queue(api).serve(acceptor);
    Arc::new(GrpcQueueClient::new(
        &endpoint,
        MuxOptions::default(),
        lifecycle,
    ))
}

fn carry_methods(api: Arc<dyn MethodApi>, lifecycle: &Lifecycle) -> Arc<dyn MethodApi> {
    let (endpoint, acceptor) = in_process();
    Services::new(lifecycle).with_methods(api).serve(acceptor);
    Arc::new(GrpcMethodClient::new(
        &endpoint,
        MuxOptions::default(),
        lifecycle,
    ))
}

fn carry_twins(api: Arc<dyn TwinApi>, lifecycle: &Lifecycle) -> Arc<dyn TwinApi> {
    let (endpoint, acceptor) = in_process();
    Services::new(lifecycle).with_twins(api).serve(acceptor);
    Arc::new(GrpcTwinClient::new(
        &endpoint,
        MuxOptions::default(),
        lifecycle,
    ))
}

fn carry_gateway(api: Arc<dyn GatewayApi>, lifecycle: &Lifecycle) -> Arc<dyn GatewayApi> {
    let (endpoint, acceptor) = in_process();
    Services::new(lifecycle).with_gateway(api).serve(acceptor);
    Arc::new(GrpcGatewayClient::new(
        &endpoint,
        MuxOptions::default(),
        lifecycle,
    ))
}

/// The hub's names: the canonical one first unless the user gave others.
pub fn host_names(hub: &HubName, given: &[HubName]) -> Vec<HubName> {
    let mut names = given.to_vec();
    for name in std::iter::once(hub.clone()).chain(local_names()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

fn local_names() -> impl Iterator<Item = HubName> {
    ["localhost", "127.0.0.1", "::1"]
        .into_iter()
        .map(|name| name.parse().expect("a local name is a valid host name"))
}
