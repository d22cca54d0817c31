//! gRPC carriers of the peer ports.
//!
//! A service hands its `Arc<dyn …Api>` to [`Services`], which serves it at an [`Acceptor`]; a
//! caller holds an [`Endpoint`] of the same carrier and a client such as [`GrpcQueueClient`],
//! which implements the same port. Whether both are in one process or on two machines is the
//! carrier's affair alone. Services and wiring may enter; nothing else speaks gRPC.
//!
//! A service of several nodes is called through [`queue_nodes`], [`method_nodes`] or
//! [`twin_nodes`], which pick a node for each call, and gateways are found by
//! [`GatewayDiscovery`]. A server over TCP takes leave of its callers before it drains, so that
//! nodes can be restarted one after the other without a call being lost.
//!
//! ```
//! use std::sync::Arc;
//! use downlink_ports::QueueApi;
//! use downlink_rpc::{GrpcQueueClient, MuxOptions, Services, in_process};
//! use downlink_runtime::Lifecycle;
//!
//! fn connect(queue: Arc<dyn QueueApi>, lifecycle: &Lifecycle) -> Arc<dyn QueueApi> {
//!     let (endpoint, acceptor) = in_process();
//!     Services::new(lifecycle).with_queue(queue).serve(acceptor);
//!     Arc::new(GrpcQueueClient::new(&endpoint, MuxOptions::default(), lifecycle))
//! }
//! ```

mod carrier;
mod connections;
mod discovery;
mod failure;
mod fleet;
mod gateway;
mod gateway_pool;
mod limits;
mod method;
mod mux;
mod nodes;
mod query;
mod queue;
mod registry;
mod services;
mod serving;
#[cfg(test)]
mod testing;
mod twin;
mod wire;

pub use carrier::{Acceptor, Endpoint, MAX_FRAME_BYTES, in_process};
pub use discovery::{DiscoveryOptions, GatewayDiscovery};
pub use failure::{ERROR_CODE_KEY, from_status, grpc_code, to_status};
pub use gateway::GrpcGatewayClient;
pub use gateway_pool::GatewayPool;
pub use method::GrpcMethodClient;
pub use mux::MuxOptions;
pub use nodes::{NodesOptions, method_nodes, queue_nodes, twin_nodes};
pub use queue::GrpcQueueClient;
pub use services::Services;
pub use twin::GrpcTwinClient;
