//! Starts the four services and joins them by gRPC carried in memory.

use std::sync::Arc;

use downlink_domain::id::{GatewayId, HubName};
use downlink_gateway::{Gateway, Peers};
use downlink_method_router::{MethodDeps, MethodOptions};
use downlink_node::{Ground, Issuers, Presence, Stores};
use downlink_ports::{EventSink, Gateways, MethodApi};
use downlink_queue::{QueueDeps, QueueOptions, RelayDeps};
use downlink_rpc::{
    GatewayPool, GrpcGatewayClient, GrpcMethodClient, GrpcQueueClient, GrpcTwinClient, MuxOptions,
    Services, in_process,
};
use downlink_twin::{TwinDeps, TwinOptions};

/// What the services are given of the outside.
pub struct Adapters {
    /// The store.
    pub stores: Stores,
    /// Who is connected where.
    pub presence: Presence,
    /// The issuers of bearer tokens.
    pub issuers: Arc<Issuers>,
    /// Where events go, unless they stay in the outbox.
    pub sink: Option<Arc<dyn EventSink>>,
}

/// Starts the services behind the gateway and returns how a gateway calls them.
///
/// Scopes drain newest first: the gateway, which calls all others, is to be started last.
pub fn start_services(
    ground: &Ground,
    adapters: Adapters,
    gateway: (&GatewayId, &Gateway),
) -> Peers {
    let lifecycle = &ground.lifecycle;
    let carriers = lifecycle.child("carriers");
    let clients = MuxOptions::default();
    let (gateway_end, acceptor) = in_process();
    Services::new(&carriers)
        .with_gateway(gateway.1.api())
        .serve(acceptor);
    let pool = GatewayPool::new();
    let client = GrpcGatewayClient::new(&gateway_end, clients, &carriers);
    pool.register(gateway.0.clone(), Arc::new(client));
    let gateways: Arc<dyn Gateways> = Arc::new(pool);

    // First: jobs of the twin service call it, so it drains after that.
    let (method_end, acceptor) = in_process();
    let deps = MethodDeps {
        presence: Arc::clone(&adapters.presence.directory),
        gateways: Arc::clone(&gateways),
        meter: ground.metrics.meter("downlink.method-router"),
    };
    let options = MethodOptions::from(&*ground.config);
    let scope = lifecycle.child("method-router");
    downlink_method_router::start(options, deps, acceptor, &scope);
    let (twin_end, acceptor) = in_process();
    let methods = Arc::new(GrpcMethodClient::new(&method_end, clients, &carriers));
    let deps = twin_deps(ground, &adapters, &gateways, methods.clone());
    let options = TwinOptions::from(&*ground.config);
    downlink_twin::start(&options, &deps, acceptor, &lifecycle.child("twin"));
    let (queue_end, acceptor) = in_process();
    let deps = queue_deps(ground, &adapters, &gateways);
    let options = QueueOptions::from(&*ground.config);
    downlink_queue::start(options, deps, acceptor, &lifecycle.child("queue"));
    let twins = Arc::new(GrpcTwinClient::new(&twin_end, clients, &carriers));
    Peers {
        queue: Arc::new(GrpcQueueClient::new(&queue_end, clients, &carriers)),
        methods,
        fleet: Arc::clone(&twins) as _,
        queries: Arc::clone(&twins) as _,
        registry: Arc::clone(&twins) as _,
        limits: Arc::clone(&twins) as _,
        connections: Arc::clone(&twins) as _,
        twins,
        issuers: adapters.issuers,
        presence: adapters.presence.directory,
        leases: adapters.presence.leases,
        polls: adapters.presence.polls,
        rates: adapters.presence.rates,
        gateways,
        clock: Arc::clone(&ground.clock),
        ids: Arc::clone(&ground.ids),
    }
}

fn twin_deps(
    ground: &Ground,
    adapters: &Adapters,
    gateways: &Arc<dyn Gateways>,
    methods: Arc<dyn MethodApi>,
) -> TwinDeps {
    let stores = adapters.stores.clone();
    TwinDeps {
        registry: stores.registry,
        connections: stores.connections,
        twins: stores.twins,
        sessions: stores.sessions,
        access: stores.access,
        queries: stores.queries,
        jobs: stores.jobs,
        methods,
        limits: stores.limits,
        presence: Arc::clone(&adapters.presence.directory),
        leases: Arc::clone(&adapters.presence.leases),
        gateways: Arc::clone(gateways),
        clock: Arc::clone(&ground.clock),
        ids: Arc::clone(&ground.ids),
        meter: ground.metrics.meter("downlink.twin"),
    }
}

fn queue_deps(ground: &Ground, adapters: &Adapters, gateways: &Arc<dyn Gateways>) -> QueueDeps {
    let stores = adapters.stores.clone();
    let relay = adapters.sink.clone().map(|sink| RelayDeps {
        source: stores.relay,
        sink,
    });
    QueueDeps {
        messages: stores.messages,
        feedback: stores.feedback,
        outbox: stores.outbox,
        relay,
        presence: Arc::clone(&adapters.presence.directory),
        gateways: Arc::clone(gateways),
        clock: Arc::clone(&ground.clock),
        ids: Arc::clone(&ground.ids),
        meter: ground.metrics.meter("downlink.queue"),
    }
}

/// The first hub's names: the canonical one first unless the user gave others; those of this machine too, except what
/// other hubs have `taken`.
pub fn host_names(hub: &HubName, given: &[HubName], taken: &[&HubName]) -> Vec<HubName> {
    let mut names = given.to_vec();
    for name in std::iter::once(hub.clone()).chain(local_names()) {
        if !names.contains(&name) && !taken.contains(&&name) {
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
