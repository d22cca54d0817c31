//! The method-router service in a process of its own.

use std::process::ExitCode;

use downlink_config::Process;
use downlink_method_router::{MethodDeps, MethodOptions};
use downlink_node::doors::PortNames;
use downlink_node::{Ground, doors, open_presence, peers, run_process};
use downlink_runtime::telemetry::serve_operations;

fn main() -> ExitCode {
    run_process(Process::MethodRouter, start)
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
    let presence = open_presence(&ground).await?;
    let deps = MethodDeps {
        gateways: peers::discover_gateways(&ground, &presence, None),
        presence: presence.directory,
        meter: ground.metrics.meter("downlink.method-router"),
    };
    let options = MethodOptions::from(&*ground.config);
    let scope = ground.lifecycle.child("method-router");
    downlink_method_router::start(options, deps, door.acceptor, &scope);
    Ok(())
}
