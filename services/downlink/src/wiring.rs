//! Starts the four services and joins them by gRPC carried in memory.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use downlink_domain::id::{GatewayId, HubName};
use downlink_gateway::{Gateway, Peers};
use downlink_method_router::{MethodDeps, MethodOptions};
use downlink_ports::{Clock, Gateways, IdSource, PresenceDirectory};
use downlink_presence_memory::MemoryPresence;
use downlink_queue::{QueueDeps, QueueOptions};
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
    let carriers = lifecycle.child("carriers");
    let clients = MuxOptions::default();
    let directory = Arc::new(MemoryPresence::new(ground.clock.now()));
    let presence: Arc<dyn PresenceDirectory> = Arc::clone(&directory) as _;
    let (gateway_end, acceptor) = in_process();
    Services::new(&carriers)
        .with_gateway(gateway.1.api())
        .serve(acceptor);
    let pool = GatewayPool::new();
    let client = GrpcGatewayClient::new(&gateway_end, clients, &carriers);
    pool.register(gateway.0.clone(), Arc::new(client));
    let reach = Reach {
        presence,
        gateways: Arc::new(pool),
    };

    let (twin_end, acceptor) = in_process();
    let deps = twin_deps(ground, &reach);
    downlink_twin::start(&options.twins, deps, acceptor, &lifecycle.child("twin"));
    let (queue_end, acceptor) = in_process();
    let deps = queue_deps(ground, &reach);
    downlink_queue::start(options.queue, deps, acceptor, &lifecycle.child("queue"));
    let (method_end, acceptor) = in_process();
    let deps = MethodDeps {
        presence: Arc::clone(&reach.presence),
        gateways: Arc::clone(&reach.gateways),
        meter: ground.metrics.meter("downlink.method-router"),
    };
    let scope = lifecycle.child("method-router");
    downlink_method_router::start(options.methods, deps, acceptor, &scope);
    Peers {
        queue: Arc::new(GrpcQueueClient::new(&queue_end, clients, &carriers)),
        methods: Arc::new(GrpcMethodClient::new(&method_end, clients, &carriers)),
        twins: Arc::new(GrpcTwinClient::new(&twin_end, clients, &carriers)),
        presence: reach.presence,
        leases: directory,
        gateways: reach.gateways,
        clock: Arc::clone(&ground.clock),
        ids: Arc::clone(&ground.ids),
    }
}

/// How services reach devices.
struct Reach {
    presence: Arc<dyn PresenceDirectory>,
    gateways: Arc<dyn Gateways>,
}

fn twin_deps(ground: &Ground, reach: &Reach) -> TwinDeps {
    TwinDeps {
        registry: Arc::clone(&ground.store) as _,
        twins: Arc::clone(&ground.store) as _,
        sessions: Arc::clone(&ground.store) as _,
        policies: Arc::clone(&ground.store) as _,
        presence: Arc::clone(&reach.presence),
        gateways: Arc::clone(&reach.gateways),
        clock: Arc::clone(&ground.clock),
        ids: Arc::clone(&ground.ids),
        meter: ground.metrics.meter("downlink.twin"),
    }
}

fn queue_deps(ground: &Ground, reach: &Reach) -> QueueDeps {
    QueueDeps {
        messages: Arc::clone(&ground.store) as _,
        feedback: Arc::clone(&ground.store) as _,
        outbox: Arc::clone(&ground.store) as _,
        relay: None,
        presence: Arc::clone(&reach.presence),
        gateways: Arc::clone(&reach.gateways),
        clock: Arc::clone(&ground.clock),
        ids: Arc::clone(&ground.ids),
        meter: ground.metrics.meter("downlink.queue"),
    }
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
