//! Owns cloud-to-device messages, their states and their feedback.
//!
//! *Owns*: the rules by which messages are accepted, handed out, settled, ended and reported, and
//! the sweeper that makes expiries and lapsed locks visible. *Calls*: the message, feedback and
//! event stores, the presence directory, and `wake` of the gateways that hold devices.
//! *Promises*: an accepted message is on disk before its sender hears of it; order per device is
//! that of acceptance; what a caller is told is what was stored. Wake-ups are hints and may be
//! lost. Any number of nodes may run on the same stores.
//!
//! [`QueueService::start`] makes the service, which is a [`downlink_ports::QueueApi`]; [`start`]
//! also serves it at a carrier.

mod batching;
mod config;
mod enqueue;
mod error;
mod events;
mod expire;
mod feedback;
mod metrics;
mod purge;
mod receive;
mod relay;
mod service;
mod settings;
mod settle;
#[cfg(test)]
mod tests;
mod wake;

pub use config::{FeedbackOptions, OptionsError, QueueOptions, SweepOptions, WakeOptions};
pub use relay::{RelayDeps, RelayOptions};
pub use service::{QueueDeps, QueueService};

use std::sync::Arc;

use downlink_rpc::{Acceptor, Services};
use downlink_runtime::Lifecycle;

/// Starts the service in the scope `lifecycle` and serves it at `acceptor`.
///
/// # Panics
/// Outside a tokio runtime.
pub fn start(options: QueueOptions, deps: QueueDeps, acceptor: Acceptor, lifecycle: &Lifecycle) {
    let service = QueueService::start(options, deps, lifecycle);
    Services::new(lifecycle)
        .with_queue(Arc::new(service))
        .serve(acceptor);
}
