//! The calling side.

use async_trait::async_trait;
use downlink_domain::method::{MethodAnswer, MethodCall, MethodError};
use downlink_ports::MethodApi;
use downlink_proto::v1::method_call::Call;
use downlink_proto::v1::method_reply::Reply;
use downlink_runtime::Lifecycle;

use super::MethodStream;
use crate::carrier::Endpoint;
use crate::failure::{METHOD_MARGIN, to_method_error};
use crate::mux::MuxOptions;
use crate::nodes::{Peer, Repeat};
use crate::wire::ToWire;
use crate::wire::common::outcome_from_wire;

/// A method-router behind a carrier. Dropping it closes its connections.
pub struct GrpcMethodClient {
    peer: Peer<MethodStream>,
}

impl GrpcMethodClient {
    /// Begins to connect; calls wait for the first attempt.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(endpoint: &Endpoint, options: MuxOptions, lifecycle: &Lifecycle) -> Self {
        Self::over(Peer::one(endpoint, &options, lifecycle))
    }

    pub(crate) fn over(peer: Peer<MethodStream>) -> Self {
        Self { peer }
    }
}

#[async_trait]
impl MethodApi for GrpcMethodClient {
    async fn invoke(&self, call: MethodCall) -> Result<MethodAnswer, MethodError> {
        let device = call.device;
        // The router ends the call in time; this is for a router that does not.
        let timeout = call.timeouts.response() + METHOD_MARGIN;
        let call = Call::Invoke(call.to_wire());
        let invoked = self
            .peer
            .call(&device, call, Some(timeout), Repeat::IfUntaken);
        match invoked.await {
            Ok(Reply::Invoke(outcome)) => outcome_from_wire(outcome),
            Ok(Reply::Failure(_)) => Err(MethodError::Unavailable),
            Err(error) => Err(to_method_error(&error)),
        }
    }
}
