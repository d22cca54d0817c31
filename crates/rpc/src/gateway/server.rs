//! The serving side.

use std::sync::Arc;

use downlink_domain::id::DeviceKey;
use downlink_ports::{GatewayApi, MethodDelivery, PeerError};
use downlink_proto::v1;
use downlink_proto::v1::gateway_call::Call;
use downlink_proto::v1::gateway_reply::Reply;
use downlink_proto::v1::gateway_service_server::GatewayService;
use tonic::{Request, Response, Status, Streaming};

use super::GatewayStream;
use crate::failure::{refuse, to_status};
use crate::mux::{Dispatch, MAX_CALL_ITEMS, Session};
use crate::serving::Serving;
use crate::wire::{FromWire, ToWire, WireError, read_all};

/// Serves a gateway.
pub(crate) struct GatewayServer {
    calls: Arc<Calls>,
    serving: Serving,
}

pub(crate) struct Calls {
    api: Arc<dyn GatewayApi>,
}

impl GatewayServer {
    pub(crate) fn new(api: Arc<dyn GatewayApi>, serving: &Serving) -> Self {
        Self {
            calls: Arc::new(Calls { api }),
            serving: serving.clone(),
        }
    }
}

impl Dispatch<GatewayStream> for Calls {
    fn dispatch(
        &self,
        call: Call,
    ) -> impl Future<Output = Result<Reply, PeerError>> + Send + 'static {
        let api = Arc::clone(&self.api);
        async move {
            match call {
                Call::Wake(call) => wake(&*api, call).await,
                Call::Notify(call) => {
                    api.notify(read_all(call.changes)?).await?;
                    Ok(Reply::Notify(v1::NotifyReply {}))
                }
                Call::Invoke(call) => invoke(&*api, call).await,
            }
        }
    }
}

async fn wake(api: &dyn GatewayApi, call: v1::WakeCall) -> Result<Reply, PeerError> {
    if call.device_keys.len() > MAX_CALL_ITEMS {
        return Err(WireError::OutOfRange("number of items").into());
    }
    let devices = call.device_keys.into_iter().map(DeviceKey).collect();
    api.wake(devices).await?;
    Ok(Reply::Wake(v1::WakeReply {}))
}

async fn invoke(api: &dyn GatewayApi, call: v1::DeliverMethodCall) -> Result<Reply, PeerError> {
    let outcome = match MethodDelivery::from_wire(call) {
        Ok(delivery) => api.invoke(delivery).await,
        Err(WireError::Method(error)) => Err(error),
        Err(error) => return Err(error.into()),
    };
    Ok(Reply::Invoke(outcome.to_wire()))
}

#[tonic::async_trait]
impl GatewayService for GatewayServer {
    type CallsStream = Session<GatewayStream, Calls>;

    async fn calls(
        &self,
        request: Request<Streaming<v1::GatewayCalls>>,
    ) -> Result<Response<Self::CallsStream>, Status> {
        self.serving.admit_stream()?;
        let session = Session::new(&self.calls, request.into_inner(), &self.serving);
        Ok(Response::new(session))
    }

    async fn disconnect(
        &self,
        request: Request<v1::DisconnectRequest>,
    ) -> Result<Response<v1::DisconnectResponse>, Status> {
        let orders = read_all(request.into_inner().orders).map_err(refuse)?;
        let ended = self.calls.api.disconnect(orders).await;
        ended.map_err(to_status)?;
        Ok(Response::new(v1::DisconnectResponse {}))
    }
}
