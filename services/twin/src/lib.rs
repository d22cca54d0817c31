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
//! #     deps: downlink_twin::TwinDeps,
//! #     acceptor: downlink_rpc::Acceptor,
//! #     lifecycle: &downlink_runtime::Lifecycle,
//! # ) {
//! downlink_twin::start(&downlink_twin::TwinOptions::default(), deps, acceptor, lifecycle);
//! # }
//! ```

mod access;
mod by_gateway;
mod error;
mod get;
mod limits;
mod metrics;
mod notify;
mod missed;
mod options;
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

pub use options::{TwinDeps, TwinOptions};

/// Starts the service in the scope `lifecycle` and serves it at `acceptor`.
///
/// # Panics
/// Outside a tokio runtime.
pub fn start(options: &TwinOptions, deps: TwinDeps, acceptor: Acceptor, lifecycle: &Lifecycle) {
    let limits = limits::Limits::new(&deps);
    let service = service::TwinService::start(options, deps, lifecycle);
    Services::new(lifecycle)
        .with_twins(Arc::new(service))
        .with_limits(Arc::new(limits))
        .serve(acceptor);
}
