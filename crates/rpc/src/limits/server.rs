//! The serving side.

use std::sync::Arc;

use downlink_domain::device::IfMatch;
use downlink_domain::id::HubName;
use downlink_ports::LimitsApi;
use downlink_proto::v1;
use downlink_proto::v1::limits_service_server::LimitsService;
use tonic::{Request, Response, Status};

use crate::failure::{refuse, to_status};
use crate::wire::common::actor;
use crate::wire::limits::change_from_wire;
use crate::wire::{FromWire, ToWire};

/// Serves limits.
pub(crate) struct LimitsServer {
    api: Arc<dyn LimitsApi>,
}

impl LimitsServer {
    pub(crate) fn new(api: Arc<dyn LimitsApi>) -> Self {
        Self { api }
    }
}

#[tonic::async_trait]
impl LimitsService for LimitsServer {
    async fn get_limits(
        &self,
        request: Request<v1::GetLimitsRequest>,
    ) -> Result<Response<v1::GetLimitsResponse>, Status> {
        let request = request.into_inner();
        let hub: HubName = request.hub.parse().map_err(refuse)?;
        let found = self.api.limits(hub, request.known_version).await;
        let snapshot = found.map_err(to_status)?.map(ToWire::to_wire);
        Ok(Response::new(v1::GetLimitsResponse { snapshot }))
    }

    async fn change_limits(
        &self,
        request: Request<v1::ChangeLimitsRequest>,
    ) -> Result<Response<v1::ChangeLimitsResponse>, Status> {
        let request = request.into_inner();
        let hub: HubName = request.hub.parse().map_err(refuse)?;
        let change = change_from_wire(request.replaces, request.limits).map_err(refuse)?;
        let if_match = IfMatch::from_wire(request.if_match).map_err(refuse)?;
        let by = actor(request.by).map_err(refuse)?;
        let changed = self.api.change_limits(hub, change, if_match, by).await;
        let snapshot = Some(changed.map_err(to_status)?.to_wire());
        Ok(Response::new(v1::ChangeLimitsResponse { snapshot }))
    }
}
