//! The method-router service over gRPC.

use downlink_proto::v1::method_service_client::MethodServiceClient;
use downlink_proto::v1::{
    MethodCall, MethodCalls, MethodReplies, MethodReply, method_call, method_reply,
};

use crate::mux::call_stream;

mod client;
mod server;
#[cfg(test)]
mod tests;

pub use client::GrpcMethodClient;
pub(crate) use server::MethodServer;

call_stream!(
    /// The calls of the method-router service.
    MethodStream,
    "method-router",
    MethodServiceClient,
    (MethodCalls, MethodCall, method_call::Call),
    (MethodReplies, MethodReply, method_reply::Reply)
);
