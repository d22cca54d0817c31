//! The gateway in a process of its own.

use std::process::ExitCode;
use std::sync::Arc;

use downlink_config::Process;
use downlink_domain::id::{GatewayId, HubName};
use downlink_gateway::{FurtherHub, Gateway, GatewayOptions, LeaseHealth, Peers, Sockets};
use downlink_node::certificate::{Certificates, handshake_limit};
use downlink_node::doors::{PortNames, Wanted};
use downlink_node::{Ground, open_issuers, open_presence, peers, run_process};
use downlink_rpc::Services;
use downlink_runtime::ClientCertificates::{NotAsked, Requested};
use downlink_runtime::OnError;
use downlink_runtime::telemetry::serve_operations;
use tokio::sync::watch;

fn main() -> ExitCode {
    run_process(Process::Gateway, start)
}

async fn start(ground: Ground) -> anyhow::Result<()> {
    let config = &ground.config;
    // Sockets first: a port that is taken is told before anything else is touched.
    let bound = Wanted::from_config(config, PortNames::Settings).bind()?;
    let door = peers::bind_peers(config)?;
    serve_operations(bound.metrics, &ground.lifecycle, ground.metrics.clone());
    let now = ground.clock.now();
    let certificates = Certificates::load(config, &config.storage.path, now.as_seconds())?;
    certificates.keep_current(&ground);
    let presence = open_presence(&ground).await?;
    let names: Vec<HubName> = config
        .hub
        .host_names()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let id: GatewayId = format!("gateway-{:016x}", ground.ids.connection_number()).parse()?;
    let further = FurtherHub::from_config(config, |names| open_issuers(&ground, names))?;
    let gateway = Gateway::new().with_further_hubs(further);
    Services::new(&ground.lifecycle.child("peers"))
        .with_gateway(gateway.api())
        .serve(door.acceptor);
    let services = peers::connect_services(config, &ground.lifecycle.child("carriers"));
    let peers = Peers {
        queue: services.queue,
        methods: services.methods,
        twins: services.twins,
        queries: services.queries,
        registry: services.registry,
        fleet: services.fleet,
        limits: services.limits,
        connections: services.connections,
        gateways: peers::discover_gateways(&ground, &presence, Some((id.clone(), gateway.api()))),
        issuers: open_issuers(&ground, &names)?,
        presence: presence.directory,
        leases: presence.leases,
        polls: presence.polls,
        rates: presence.rates,
        clock: Arc::clone(&ground.clock),
        ids: Arc::clone(&ground.ids),
    };
    let limit = handshake_limit(config);
    let sockets = Sockets {
        mqtts: bound.mqtts,
        amqps: bound.amqps,
        https: bound.https,
        grpc: bound.grpc,
        tls: certificates.acceptor(&[], Requested, &limit)?,
        https_tls: certificates.acceptor(&[b"h2", b"http/1.1"], Requested, &limit)?,
        grpc_tls: certificates.acceptor(&[b"h2"], NotAsked, &limit)?,
    };
    let mut options = GatewayOptions::from_config(config, id, names[0].clone(), names);
    options.address = peers::advertised(config, door.address);
    watch_lease(&ground, gateway.lease_health());
    let meter = ground.metrics.meter("downlink.gateway");
    let scope = ground.lifecycle.child("gateway");
    gateway.start(options, peers, sockets, &meter, &scope);
    Ok(())
}

/// A gateway is ready while it holds its lease.
fn watch_lease(ground: &Ground, mut health: watch::Receiver<LeaseHealth>) {
    const LEASE: &str = "gateway lease";
    let readiness = ground.readiness.clone();
    readiness.set(LEASE, false);
    let watching = async move {
        loop {
            let is_held = *health.borrow_and_update() == LeaseHealth::Held;
            readiness.set(LEASE, is_held);
            if health.changed().await.is_err() {
                return;
            }
        }
    };
    ground
        .lifecycle
        .spawn_background("lease-health", OnError::Log, watching);
}
