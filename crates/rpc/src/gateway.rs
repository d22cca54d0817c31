//! A gateway over gRPC.

use downlink_proto::v1::gateway_service_client::GatewayServiceClient;
use downlink_proto::v1::{
    GatewayCall, GatewayCalls, GatewayReplies, GatewayReply, gateway_call, gateway_reply,
};

use crate::mux::call_stream;

mod client;
mod server;
#[cfg(test)]
mod tests;

pub use client::GrpcGatewayClient;
pub(crate) use server::GatewayServer;

call_stream!(
    /// The hot calls of a gateway.
    GatewayStream,
    "gateway",
    GatewayServiceClient,
    (GatewayCalls, GatewayCall, gateway_call::Call),
    (GatewayReplies, GatewayReply, gateway_reply::Reply)
);
