//! The serving side.

use std::sync::Arc;

use downlink_domain::method::MethodCall;
use downlink_ports::{MethodApi, PeerError};
use downlink_proto::v1;
use downlink_proto::v1::method_call::Call;
use downlink_proto::v1::method_reply::Reply;
use downlink_proto::v1::method_service_server::MethodService;
use tonic::{Request, Response, Status, Streaming};

use super::MethodStream;
use crate::mux::{Dispatch, Session};
use crate::serving::Serving;
use crate::wire::{FromWire, ToWire, WireError};

/// Serves a method-router.
pub(crate) struct MethodServer {
    calls: Arc<Calls>,
    serving: Serving,
}

pub(crate) struct Calls {
    api: Arc<dyn MethodApi>,
}

impl MethodServer {
    pub(crate) fn new(api: Arc<dyn MethodApi>, serving: &Serving) -> Self {
        Self {
            calls: Arc::new(Calls { api }),
            serving: serving.clone(),
        }
    }
}

impl Dispatch<MethodStream> for Calls {
    fn dispatch(
        &self,
        call: Call,
    ) -> impl Future<Output = Result<Reply, PeerError>> + Send + 'static {
        let api = Arc::clone(&self.api);
        async move {
            let Call::Invoke(call) = call;
            let outcome = match MethodCall::from_wire(call) {
                Ok(call) => api.invoke(call).await,
                // A name or a timeout outside its rules has an outcome of its own.
                Err(WireError::Method(error)) => Err(error),
                Err(error) => return Err(error.into()),
            };
            Ok(Reply::Invoke(outcome.to_wire()))
        }
    }
}

#[tonic::async_trait]
impl MethodService for MethodServer {
    type CallsStream = Session<MethodStream, Calls>;

    async fn calls(
        &self,
        request: Request<Streaming<v1::MethodCalls>>,
    ) -> Result<Response<Self::CallsStream>, Status> {
        self.serving.admit_stream()?;
        let session = Session::new(&self.calls, request.into_inner(), &self.serving);
        Ok(Response::new(session))
    }
}
