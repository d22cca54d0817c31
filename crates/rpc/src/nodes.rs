//! How a caller finds the nodes of a service and picks one for each call.
//!
//! Any node of a service may take any call. Callers choose by rendezvous hashing of what the call
//! is about (see [`rank`]), so that all calls about one device go to one node while the set of
//! nodes stands: one sender's order is kept and caches stay warm. A batch goes out in one part per
//! node, and what the parts answer is put back by position.
//!
//! # Which nodes
//!
//! [`NodesOptions::addresses`] are looked up again and again; every address found is a node. A
//! look-up that fails changes nothing. A node that is no longer found gets no further calls, and
//! its connections close when its last call has ended.
//!
//! A node is passed over, and its keys go to their next-highest node, while it has no connection
//! (one that is silent for five seconds counts as broken) and from the moment it says that it
//! drains, which is before it stops answering. It is tried again with growing pauses and takes its
//! keys back once it is connected. A node that joins others has no keys before it was reached.
//!
//! # What is tried again
//!
//! At most one further attempt is made, at the next node, within the call's own deadline. With a
//! single node there is none.
//!
//! | call | keyed by | surely not sent | outcome unknown |
//! |---|---|---|---|
//! | `QueueApi::enqueue` | hub, device id | again | no |
//! | `receive`, `settle` | device key | again | no |
//! | `record_events` | device key | again | again: events have stable ids |
//! | `purge` | hub, device id | again | no: the count of what was removed would be lost |
//! | `count` | first device key | again | again, hedged |
//! | `receive_feedback`, `settle_feedback` | hub | again | no |
//! | `MethodApi::invoke` | device key | again | no; again when the router itself was unavailable, for then it handed nothing over |
//! | `TwinApi::open_device`, `find_device`, `get_twin` | hub, device id | again | again, hedged |
//! | `list_devices`, `count_devices`, `access`, `LimitsApi::limits` | hub | again | again, hedged |
//! | `ConnectionApi::count_connected` | hub | again | again, hedged |
//! | `ConnectionApi::record_activity` | first device key | again | again: times only rise |
//! | `find_twin_versions` | first device key | again | again, hedged |
//! | `get_own_twin` | device key | again | again, hedged |
//! | `save_sessions`, `record_connections` | device key | again | again: the same is written, a report changes nothing a second time |
//! | `put_device`, `delete_device`, `update_twin` | hub, device id | again | no |
//! | `report` | device key | again | no |
//! | `RegistryApi::list_modules` | hub, device id | again | again, hedged |
//! | `RegistryApi::write_identities` | hub | again | no |
//! | `QueryApi::query` | hub, text | again | again |
//! | `FleetApi::create_job`, `cancel_job` | hub, job id | again | no |
//! | `find_job`, `list_jobs`, `list_device_jobs` | hub | again | again, hedged |
//!
//! *Surely not sent* means that there was no connection, or that the call had not been handed to
//! it when it broke. *Hedged* means that a read without an answer after a second is also asked of
//! the next node, and the first answer counts; at most 64 reads at a time are, lest nodes that are
//! slow with work get twice as much. What a node refuses, or a lane that is full, is an
//! answer and is not tried elsewhere: an overload must not spread, and what waits must not be
//! overtaken.
//!
//! A batch of which one part fails has failed, though its other parts may have been carried out;
//! `enqueue` alone answers for each message.
//!
//! While the set changes, calls about one device that are in flight side by side may be carried
//! out by two nodes and in any order; calls made one after the other, and the items of one call,
//! keep their order.

mod attempts;
mod members;
mod node;
mod peer;
mod queues;
mod rank;
mod resolve;
mod set;
#[cfg(test)]
mod tests;
mod unary;

use std::sync::Arc;
use std::time::Duration;

use downlink_ports::{MethodApi, QueueApi};
use downlink_runtime::Lifecycle;

pub(crate) use attempts::Repeat;
#[cfg(test)]
pub(crate) use members::MAX_NODES;
pub(crate) use members::Members;
pub(crate) use peer::Peer;
use resolve::SystemResolver;

use crate::method::GrpcMethodClient;
use crate::mux::{CallStream, MuxOptions};
use crate::queue::GrpcQueueClient;
use crate::twin::GrpcTwinClient;

/// Where the nodes of a service are, and how they are called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodesOptions {
    /// `host:port` of each node; a name may stand for many addresses, each of which is a node. At
    /// most 1,024 names and 1,024 nodes, of which the lowest addresses count.
    pub addresses: Vec<String>,
    /// Time between look-ups of the names, at least 50 ms. Look-ups of names that have not been
    /// found yet come sooner.
    pub refresh: Duration,
    /// Bounds of the streams to each node.
    pub mux: MuxOptions,
}

impl NodesOptions {
    /// These nodes, looked up every five seconds.
    pub fn new(addresses: Vec<String>) -> Self {
        Self {
            addresses,
            refresh: Duration::from_secs(5),
            mux: MuxOptions::default(),
        }
    }

    fn peer<S: CallStream>(self, lifecycle: &Lifecycle) -> Peer<S> {
        let mux = self.mux;
        Peer::many(Members::follow(self, SystemResolver, lifecycle), &mux)
    }
}

/// The queue service, called at the nodes of `options` through connections of `lifecycle`.
///
/// # Panics
/// Outside a tokio runtime.
pub fn queue_nodes(options: NodesOptions, lifecycle: &Lifecycle) -> Arc<dyn QueueApi> {
    Arc::new(GrpcQueueClient::over(options.peer(lifecycle)))
}

/// The method-router service, as [`queue_nodes`].
///
/// # Panics
/// Outside a tokio runtime.
pub fn method_nodes(options: NodesOptions, lifecycle: &Lifecycle) -> Arc<dyn MethodApi> {
    Arc::new(GrpcMethodClient::over(options.peer(lifecycle)))
}

/// The twin service with all that its nodes serve, as [`queue_nodes`].
///
/// # Panics
/// Outside a tokio runtime.
pub fn twin_nodes(options: NodesOptions, lifecycle: &Lifecycle) -> Arc<GrpcTwinClient> {
    Arc::new(GrpcTwinClient::over(options.peer(lifecycle)))
}
