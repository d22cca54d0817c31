//! Owns the device registry and the twins, and with them MQTT sessions, access policies and
//! certificate authorities.
//!
//! Calls: its stores, presence, and the gateways that hold devices. Promises: a write is answered
//! when it is on disk; the device is told after that, in the order of versions, when it is
//! connected; a device that was disabled or deleted, or whose keys were taken away, is
//! disconnected.
//!
//! ```no_run
//! # fn with(
//! #     deps: &downlink_twin::TwinDeps,
//! #     acceptor: downlink_rpc::Acceptor,
//! #     lifecycle: &downlink_runtime::Lifecycle,
//! # ) {
//! downlink_twin::start(&downlink_twin::TwinOptions::default(), deps, acceptor, lifecycle);
//! # }
//! ```

mod access;
mod by_gateway;
mod connections;
mod error;
mod get;
mod jobs;
mod limits;
mod metrics;
mod missed;
mod notify;
mod options;
mod query;
mod registry;
mod report;
mod revoke;
mod service;
mod session;
mod settings;
#[cfg(test)]
mod tests;
mod update;
mod write;

use std::sync::Arc;

use downlink_rpc::{Acceptor, Services};
use downlink_runtime::Lifecycle;

pub use jobs::JobOptions;
pub use options::{SweepOptions, TwinDeps, TwinOptions};

/// Starts the service in the scope `lifecycle` and serves it at `acceptor`.
///
/// # Panics
/// Outside a tokio runtime.
pub fn start(options: &TwinOptions, deps: &TwinDeps, acceptor: Acceptor, lifecycle: &Lifecycle) {
    let limits = limits::Limits::new(deps);
    let desk = connections::ConnectionDesk::new(Arc::clone(&deps.connections));
    let sources = connections::Sources::of(deps);
    connections::start(options.sweep, sources, Arc::clone(&deps.ids), lifecycle);
    let service = service::TwinService::start(options, deps.clone(), lifecycle);
    let service = Arc::new(service);
    let fleet = Arc::new(start_fleet(options, deps, &service, lifecycle));
    let stands = (Arc::clone(&deps.queries), Arc::clone(&deps.clock));
    let rows = Some(Arc::clone(&fleet) as _);
    let queries = query::QueryDesk::new(stands, rows, options.queries, &deps.meter);
    Services::new(lifecycle)
        .with_twins(Arc::clone(&service) as _)
        .with_registry(service)
        .with_fleet(fleet)
        .with_queries(Arc::new(queries))
        .with_limits(Arc::new(limits))
        .with_connections(Arc::new(desk))
        .serve(acceptor);
}

/// Starts the part that works on many identities; it drains before what it stands on.
fn start_fleet(
    options: &TwinOptions,
    deps: &TwinDeps,
    service: &Arc<service::TwinService>,
    lifecycle: &Lifecycle,
) -> jobs::Fleet {
    let targets = jobs::targets::QueryTargets {
        queries: Arc::clone(&deps.queries),
        clock: Arc::clone(&deps.clock),
    };
    let hands = jobs::execute::OwnHands {
        service: Arc::clone(service),
        methods: Arc::clone(&deps.methods),
    };
    let deps = jobs::JobDeps {
        store: Arc::clone(&deps.jobs),
        targets: Arc::new(targets),
        hands: Arc::new(hands),
        clock: Arc::clone(&deps.clock),
        ids: Arc::clone(&deps.ids),
        metrics: jobs::metrics::JobMetrics::new(&deps.meter),
    };
    jobs::Fleet::start(options.jobs, options.rules, deps, lifecycle)
}
