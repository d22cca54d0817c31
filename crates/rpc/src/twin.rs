//! The twin service over gRPC.

use downlink_proto::v1::twin_service_client::TwinServiceClient;
use downlink_proto::v1::{TwinCall, TwinCalls, TwinReplies, TwinReply, twin_call, twin_reply};

use crate::mux::call_stream;

mod client;
mod server;
#[cfg(test)]
mod tests;

pub use client::GrpcTwinClient;
pub(crate) use server::TwinServer;

call_stream!(
    /// The calls of devices to the twin service.
    TwinStream,
    "twin",
    TwinServiceClient,
    (TwinCalls, TwinCall, twin_call::Call),
    (TwinReplies, TwinReply, twin_reply::Reply)
);
