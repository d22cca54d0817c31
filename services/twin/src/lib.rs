//! Owns the device registry and the twins, and with them MQTT sessions and access policies.
//!
//! Calls: its stores, presence, and the gateways that hold devices. Promises: a write is answered
//! when it is on disk; the device is told after that, in the order of versions, when it is
//! connected; a device that was disabled or deleted, or whose keys were taken away, is
//! disconnected.
//!
//! ```no_run
//! # fn with(deps: downlink_twin::TwinDeps, lifecycle: &downlink_runtime::Lifecycle) {
//! let twins = downlink_twin::start(&downlink_twin::TwinOptions::default(), deps, lifecycle);
//! # let _ = twins;
//! # }
//! ```

mod by_gateway;
mod error;
mod get;
mod metrics;
mod notify;
mod options;
mod policies;
mod registry;
mod report;
mod revoke;
mod service;
mod session;
#[cfg(test)]
mod tests;
mod update;
mod write;

use std::sync::Arc;

use downlink_ports::TwinApi;
use downlink_runtime::Lifecycle;

pub use options::{TwinDeps, TwinOptions};

/// Starts the service in `lifecycle` and returns its door.
///
/// # Panics
/// Outside a tokio runtime.
pub fn start(options: &TwinOptions, deps: TwinDeps, lifecycle: &Lifecycle) -> Arc<dyn TwinApi> {
    Arc::new(service::TwinService::start(options, deps, lifecycle))
}
