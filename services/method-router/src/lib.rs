//! Routes direct methods to the gateway that holds the device.
//!
//! *Owns*: the way of a call from its caller to one connection of its device, within the two
//! timeouts of the call; nothing durable. *Calls*: the presence directory, and `invoke` of the
//! gateway that holds the device. *Promises*: one outcome for each call; a call is handed to a
//! device at most once; the caller hears of a timeout before its own timer ends. Any number of
//! nodes may run.
//!
//! [`MethodRouter::start`] makes the service, which is a [`downlink_ports::MethodApi`]; [`start`]
//! also serves it at a carrier.

mod config;
mod in_flight;
mod invoke;
mod metrics;
mod service;
mod settings;
#[cfg(test)]
mod tests;

pub use config::{MethodOptions, OptionsError};
pub use service::{MethodDeps, MethodRouter};

use std::sync::Arc;

use downlink_rpc::{Acceptor, Services};
use downlink_runtime::Lifecycle;

/// Starts the service in the scope `lifecycle` and serves it at `acceptor`.
///
/// # Panics
/// Outside a tokio runtime.
pub fn start(options: MethodOptions, deps: MethodDeps, acceptor: Acceptor, lifecycle: &Lifecycle) {
    let service = MethodRouter::start(options, deps, lifecycle);
    Services::new(lifecycle)
        .with_methods(Arc::new(service))
        .serve(acceptor);
}
