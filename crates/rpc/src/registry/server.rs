//! The serving side.

use std::sync::Arc;

use downlink_domain::id::{DeviceId, HubName};
use downlink_ports::{MAX_REGISTRY_ITEMS, RegistryApi};
use downlink_proto::v1;
use downlink_proto::v1::registry_service_server::RegistryService;
use tonic::{Request, Response, Status};

use crate::failure::{refuse, to_status};
use crate::wire::common::actor;
use crate::wire::registry::outcome_to_wire;
use crate::wire::{ToWire, WireError, read_all};

/// Serves the registry.
pub(crate) struct RegistryServer {
    api: Arc<dyn RegistryApi>,
}

impl RegistryServer {
    pub(crate) fn new(api: Arc<dyn RegistryApi>) -> Self {
        Self { api }
    }
}

#[tonic::async_trait]
impl RegistryService for RegistryServer {
    async fn list_modules(
        &self,
        request: Request<v1::ListModulesRequest>,
    ) -> Result<Response<v1::ListModulesResponse>, Status> {
        let request = request.into_inner();
        let hub: HubName = request.hub.parse().map_err(refuse)?;
        let device: DeviceId = request.device_id.parse().map_err(refuse)?;
        let listed = self.api.list_modules(hub, device).await;
        let modules = listed.map_err(to_status)?;
        let modules = modules.into_iter().map(ToWire::to_wire).collect();
        Ok(Response::new(v1::ListModulesResponse { modules }))
    }

    async fn write_identities(
        &self,
        request: Request<v1::WriteIdentitiesRequest>,
    ) -> Result<Response<v1::WriteIdentitiesResponse>, Status> {
        let request = request.into_inner();
        if request.items.len() > MAX_REGISTRY_ITEMS {
            return Err(refuse(WireError::OutOfRange("number of items")));
        }
        let hub: HubName = request.hub.parse().map_err(refuse)?;
        let by = actor(request.by).map_err(refuse)?;
        let items = read_all(request.items).map_err(refuse)?;
        let written = self.api.write_identities(hub, items, by).await;
        let outcomes = written.map_err(to_status)?;
        let outcomes = outcomes.into_iter().map(outcome_to_wire).collect();
        Ok(Response::new(v1::WriteIdentitiesResponse { outcomes }))
    }
}
