//! The twin service in a process of its own.

use std::process::ExitCode;

use anyhow::Context as _;
use downlink_config::Process;
use downlink_node::doors::PortNames;
use downlink_node::{Ground, doors, hub, open_presence, open_stores, peers, run_process};
use downlink_runtime::telemetry::serve_operations;
use downlink_twin::{TwinDeps, TwinOptions};

fn main() -> ExitCode {
    run_process(Process::Twin, start)
}

async fn start(ground: Ground) -> anyhow::Result<()> {
    // Sockets first: a port that is taken is told before anything else is touched.
    let listen = &ground.config.listen;
    let operators = doors::bind_operators(
        listen.operator_address,
        listen.metrics_port,
        PortNames::Settings,
    )?;
    let door = peers::bind_peers(&ground.config)?;
    serve_operations(operators, &ground.lifecycle, ground.metrics.clone());
    let stores = open_stores(&ground).await?;
    let hubs = hub::configured(&ground.config)?;
    let now = ground.clock.now();
    hub::ensure_hubs(stores.policies.as_ref(), ground.ids.as_ref(), &hubs, now)
        .await
        .context("cannot make sure of the hub")?;
    let presence = open_presence(&ground).await?;
    let methods = peers::connect_methods(&ground.config, &ground.lifecycle.child("methods"));
    let deps = TwinDeps {
        registry: stores.registry,
        connections: stores.connections,
        twins: stores.twins,
        sessions: stores.sessions,
        access: stores.access,
        jobs: stores.jobs,
        queries: stores.queries,
        methods,
        limits: stores.limits,
        gateways: peers::discover_gateways(&ground, &presence, None),
        presence: presence.directory,
        leases: presence.leases,
        clock: ground.clock.clone(),
        ids: ground.ids.clone(),
        meter: ground.metrics.meter("downlink.twin"),
    };
    let options = TwinOptions::from(&*ground.config);
    let scope = ground.lifecycle.child("twin");
    downlink_twin::start(&options, &deps, door.acceptor, &scope);
    Ok(())
}
