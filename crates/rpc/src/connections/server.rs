//! The serving side.

use std::sync::Arc;

use downlink_domain::id::{DeviceKey, HubName};
use downlink_ports::ConnectionApi;
use downlink_proto::v1;
use downlink_proto::v1::connection_service_server::ConnectionService;
use tonic::{Request, Response, Status};

use crate::failure::{refuse, to_status};
use crate::wire::{WireError, instant};

/// Most identities of one call.
const MAX_SEEN: usize = 10_000;

/// Serves what is told and asked of connections.
pub(crate) struct ConnectionServer {
    api: Arc<dyn ConnectionApi>,
}

impl ConnectionServer {
    pub(crate) fn new(api: Arc<dyn ConnectionApi>) -> Self {
        Self { api }
    }
}

#[tonic::async_trait]
impl ConnectionService for ConnectionServer {
    async fn record_activity(
        &self,
        request: Request<v1::RecordActivityRequest>,
    ) -> Result<Response<v1::RecordActivityResponse>, Status> {
        let request = request.into_inner();
        let count = request.device_keys.len();
        if count > MAX_SEEN || count != request.instants.len() {
            return Err(refuse(WireError::OutOfRange("number of items")));
        }
        let seen = request.device_keys.into_iter().zip(request.instants);
        let seen: Result<Vec<_>, _> = seen
            .map(|(device, at)| Ok((DeviceKey(device), instant("instants", at)?)))
            .collect();
        let recorded = self
            .api
            .record_activity(seen.map_err(|e: WireError| refuse(e))?);
        recorded.await.map_err(to_status)?;
        Ok(Response::new(v1::RecordActivityResponse {}))
    }

    async fn count_connected(
        &self,
        request: Request<v1::CountConnectedRequest>,
    ) -> Result<Response<v1::CountConnectedResponse>, Status> {
        let hub: HubName = request.into_inner().hub.parse().map_err(refuse)?;
        let devices = self.api.count_connected(hub).await.map_err(to_status)?;
        Ok(Response::new(v1::CountConnectedResponse { devices }))
    }
}
