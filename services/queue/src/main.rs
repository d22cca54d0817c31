//! The queue service in a process of its own.

use std::process::ExitCode;

use downlink_config::Process;
use downlink_node::doors::PortNames;
use downlink_node::{Ground, doors, events, open_presence, open_stores, peers, run_process};
use downlink_queue::{QueueDeps, QueueOptions, RelayDeps};
use downlink_runtime::telemetry::serve_operations;

fn main() -> ExitCode {
    run_process(Process::Queue, start)
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
    let presence = open_presence(&ground).await?;
    let gateways = peers::discover_gateways(&ground, &presence, None);
    let relay = events::open_sink(&ground)?.map(|sink| RelayDeps {
        source: stores.relay,
        sink,
    });
    let deps = QueueDeps {
        messages: stores.messages,
        feedback: stores.feedback,
        outbox: stores.outbox,
        relay,
        presence: presence.directory,
        gateways,
        clock: ground.clock.clone(),
        ids: ground.ids.clone(),
        meter: ground.metrics.meter("downlink.queue"),
    };
    let options = QueueOptions::from(&*ground.config);
    let scope = ground.lifecycle.child("queue");
    downlink_queue::start(options, deps, door.acceptor, &scope);
    Ok(())
}
