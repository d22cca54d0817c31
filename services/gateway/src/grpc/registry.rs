//! Device identities and counts (registry.md §1, §2).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use downlink_domain::Timestamp;
use downlink_domain::access::{Access, Action, Actor};
use downlink_domain::device::{Authentication, Device, DeviceSpec, DeviceStatus, IfMatch};
use downlink_ports::IdSource;
use downlink_proto::api::v1;
use downlink_proto::api::v1::authentication::Way;
use downlink_proto::api::v1::registry_server::Registry;
use tonic::{Request, Response, Status};

use super::Api;
use super::call::Call;
use super::commands::device_id;
use super::twins::{if_match, status_to_wire};
use crate::https::error::ApiError;
use crate::https::facts::{self, Facts};
use crate::https::identity;
use crate::shared::Shared;

mod many;

/// Most devices of one list.
const MAX_LISTED: u32 = 1000;

#[tonic::async_trait]
impl Registry for Api {
    async fn create(
        &self,
        request: Request<v1::CreateDeviceRequest>,
    ) -> Result<Response<v1::CreateDeviceResponse>, Status> {
        let (call, request) = Call::open(request)?;
        self.check(&call, Action::DevicesWrite, &request.device_id)
            .await?;
        let by = call.actor();
        let written = self.put(&request.device_id, request.spec, IfMatch::Absent, by);
        let device = Some(written.await?);
        Ok(Response::new(v1::CreateDeviceResponse { device }))
    }

    async fn get(
        &self,
        request: Request<v1::GetDeviceRequest>,
    ) -> Result<Response<v1::GetDeviceResponse>, Status> {
        let (call, request) = Call::open(request)?;
        self.check(&call, Action::DevicesRead, &request.device_id)
            .await?;
        let device = find(&self.shared, &request.device_id).await?;
        let facts = facts::ask_one(&self.shared.peers, &device).await?;
        let device = Some(to_wire(device, facts));
        Ok(Response::new(v1::GetDeviceResponse { device }))
    }

    async fn list(
        &self,
        request: Request<v1::ListDevicesRequest>,
    ) -> Result<Response<v1::ListDevicesResponse>, Status> {
        let (call, request) = Call::open(request)?;
        let access = Access::to_hub(Action::DevicesRead);
        call.authorize(&self.shared, &access, &["devices"]).await?;
        let limit = request.limit.unwrap_or(MAX_LISTED);
        if !(1..=MAX_LISTED).contains(&limit) {
            return Err(ApiError::invalid(&"the limit must be 1 to 1000").into());
        }
        let peers = &self.shared.peers;
        let hub = self.shared.options.hub.clone();
        let devices = peers.twins.list_devices(hub, limit).await;
        let devices = devices.map_err(ApiError::from)?;
        let keys = devices.iter().map(|device| device.key).collect();
        let facts = facts::ask(peers, keys).await?;
        let devices = devices.into_iter().zip(facts);
        let devices = devices.map(|(device, facts)| to_wire(device, facts));
        Ok(Response::new(v1::ListDevicesResponse {
            devices: devices.collect(),
        }))
    }

    async fn update(
        &self,
        request: Request<v1::UpdateDeviceRequest>,
    ) -> Result<Response<v1::UpdateDeviceResponse>, Status> {
        let (call, request) = Call::open(request)?;
        self.check(&call, Action::DevicesWrite, &request.device_id)
            .await?;
        let condition = if_match(request.etag);
        let written = self.put(&request.device_id, request.spec, condition, call.actor());
        let device = Some(written.await?);
        Ok(Response::new(v1::UpdateDeviceResponse { device }))
    }

    async fn delete(
        &self,
        request: Request<v1::DeleteDeviceRequest>,
    ) -> Result<Response<v1::DeleteDeviceResponse>, Status> {
        let (call, request) = Call::open(request)?;
        self.check(&call, Action::DevicesDelete, &request.device_id)
            .await?;
        let name = device_id(&request.device_id)?.into();
        let hub = self.shared.options.hub.clone();
        let twins = &self.shared.peers.twins;
        let condition = if_match(request.etag);
        let deleted = twins.delete_device(hub, name, condition, call.actor());
        let deleted = deleted.await;
        deleted.map_err(ApiError::from)?;
        Ok(Response::new(v1::DeleteDeviceResponse {}))
    }

    async fn list_modules(
        &self,
        request: Request<v1::ListModulesRequest>,
    ) -> Result<Response<v1::ListModulesResponse>, Status> {
        let (call, request) = Call::open(request)?;
        let modules = self.modules(&call, &request.device_id).await?;
        Ok(Response::new(v1::ListModulesResponse { modules }))
    }

    async fn write(
        &self,
        request: Request<v1::WriteRequest>,
    ) -> Result<Response<v1::WriteResponse>, Status> {
        let (call, request) = Call::open(request)?;
        let written = self.write_many(&call, request.writes).await?;
        Ok(Response::new(v1::WriteResponse { written }))
    }

    async fn statistics(
        &self,
        request: Request<v1::StatisticsRequest>,
    ) -> Result<Response<v1::StatisticsResponse>, Status> {
        let (call, _) = Call::open(request)?;
        let shared = &self.shared;
        let devices = Access::to_hub(Action::RegistryStatisticsRead);
        call.authorize(shared, &devices, &["statistics", "devices"])
            .await?;
        let connections = Access::to_hub(Action::ServiceStatisticsRead);
        call.authorize(shared, &connections, &["statistics", "service"])
            .await?;
        let peers = &self.shared.peers;
        let hub = self.shared.options.hub.clone();
        let (devices, connected) = futures::join!(
            peers.twins.count_devices(hub.clone()),
            peers.connections.count_connected(hub)
        );
        let devices = devices.map_err(ApiError::from)?;
        Ok(Response::new(v1::StatisticsResponse {
            total: devices.total,
            enabled: devices.enabled,
            disabled: devices.total.saturating_sub(devices.enabled),
            connected: connected.map_err(ApiError::from)?,
        }))
    }
}

impl Api {
    async fn check(&self, call: &Call, action: Action, device: &str) -> Result<(), ApiError> {
        let path = ["devices", device];
        call.authorize_any(&self.shared, action, &path)?;
        let id = device_id(device)?;
        let access = Access::to_device(action, &id);
        call.authorize(&self.shared, &access, &path).await
    }

    async fn put(
        &self,
        device: &str,
        spec: Option<v1::DeviceSpec>,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<v1::Device, ApiError> {
        let name = device_id(device)?.into();
        let spec = read_spec(spec.unwrap_or_default(), &*self.shared.peers.ids)?;
        let hub = self.shared.options.hub.clone();
        let twins = &self.shared.peers.twins;
        let device = twins.put_device(hub, name, spec, if_match, by).await?;
        let facts = facts::ask_after_write(&self.shared.peers, &device).await;
        Ok(to_wire(device, facts))
    }
}

/// Finds a device.
pub(super) async fn find(shared: &Shared, device: &str) -> Result<Device, ApiError> {
    let id = device_id(device)?;
    let hub = shared.options.hub.clone();
    let found = shared
        .peers
        .twins
        .find_device(hub, id.clone().into())
        .await?;
    found.ok_or_else(|| crate::https::not_found(&id))
}

fn read_spec(spec: v1::DeviceSpec, ids: &dyn IdSource) -> Result<DeviceSpec, ApiError> {
    let status = match v1::DeviceStatus::try_from(spec.status) {
        Ok(v1::DeviceStatus::Unspecified | v1::DeviceStatus::Enabled) => DeviceStatus::Enabled,
        Ok(v1::DeviceStatus::Disabled) => DeviceStatus::Disabled,
        Err(_) => return Err(ApiError::invalid(&"the status is unknown")),
    };
    let way = spec.authentication.and_then(|said| said.way);
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let authentication = match way {
        None => Authentication::Sas(identity::read_keys("", "", ids)?),
        Some(Way::SymmetricKeys(keys)) => {
            Authentication::Sas(identity::read_keys(&keys.primary, &keys.secondary, ids)?)
        }
        Some(Way::Thumbprints(prints)) => Authentication::SelfSigned {
            primary: given(prints.primary),
            secondary: given(prints.secondary),
        },
        Some(Way::CertificateAuthority(_)) => Authentication::CertificateAuthority,
    };
    Ok(DeviceSpec {
        status,
        status_reason: spec.status_reason,
        authentication,
        is_edge: spec.is_edge,
        managed_by: spec.managed_by,
        device_scope: spec.device_scope,
        parent_scopes: spec.parent_scopes,
    })
}

fn to_wire(device: Device, facts: Facts) -> v1::Device {
    let is_connected = facts.is_connected(&device);
    let etag = device.etag_text();
    let known = |at: Timestamp| (at != Timestamp::UNSET).then(|| at.as_millis());
    v1::Device {
        device_id: device.name.device.to_string(),
        module_id: device.name.module.map(|module| module.to_string()),
        managed_by: device.managed_by,
        device_scope: device.device_scope,
        parent_scopes: device.parent_scopes,
        generation_id: device.generation.to_string(),
        etag,
        status: status_to_wire(device.status).into(),
        status_reason: device.status_reason,
        status_updated_at: known(device.status_updated_at),
        authentication: Some(authentication(device.authentication)),
        is_edge: device.is_edge,
        is_connected,
        connection_state_updated_at: known(device.connection_state_updated_at),
        last_activity_at: known(device.last_activity_at),
        waiting_messages: facts.waiting_messages,
    }
}

fn authentication(authentication: Authentication) -> v1::Authentication {
    let way = match authentication {
        Authentication::Sas(keys) => Way::SymmetricKeys(v1::SymmetricKeys {
            primary: STANDARD.encode(&keys.primary),
            secondary: STANDARD.encode(&keys.secondary),
        }),
        Authentication::SelfSigned { primary, secondary } => {
            Way::Thumbprints(v1::Thumbprints { primary, secondary })
        }
        Authentication::CertificateAuthority => {
            Way::CertificateAuthority(v1::CertificateAuthority {})
        }
        Authentication::None => return v1::Authentication { way: None },
    };
    v1::Authentication { way: Some(way) }
}
