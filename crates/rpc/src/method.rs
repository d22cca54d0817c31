//! The method-router service over gRPC.

use std::time::Duration;

use downlink_domain::caps::RESPONSE_TIMEOUT;
use downlink_proto::v1::method_service_client::MethodServiceClient;
use downlink_proto::v1::{
    MethodCall, MethodCalls, MethodReplies, MethodReply, method_call, method_reply,
};

use crate::mux::call_stream;
use crate::wire::millis;

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
    (MethodReplies, MethodReply, method_reply::Reply),
    {
        /// A router that is itself unavailable (it drains, or presence is away) has handed
        /// nothing over; what breaks after that has another outcome.
        fn is_untaken(reply: &method_reply::Reply) -> bool {
            use downlink_proto::v1::MethodFailure;
            use downlink_proto::v1::method_outcome::Outcome;
            let method_reply::Reply::Invoke(outcome) = reply else {
                return false;
            };
            matches!(
                outcome.outcome,
                Some(Outcome::Failure(failure)) if failure == i32::from(MethodFailure::Unavailable)
            )
        }

        fn on_repeat(call: &mut method_call::Call, elapsed: Duration) {
            let method_call::Call::Invoke(call) = call;
            let elapsed = millis(elapsed);
            // Not below what a router accepts; the carrier ends the call in time all the same.
            let least = millis(*RESPONSE_TIMEOUT.start());
            let response = call.response_timeout_millis.saturating_sub(elapsed);
            call.response_timeout_millis = response.max(least);
            let connect = call.connect_timeout_millis.saturating_sub(elapsed);
            call.connect_timeout_millis = connect.min(call.response_timeout_millis);
        }
    }
);
