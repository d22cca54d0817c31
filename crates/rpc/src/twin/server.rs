//! The serving side.

use std::sync::Arc;

use downlink_domain::access::Actor;
use downlink_domain::authority::CertificateAuthority;
use downlink_domain::device::IfMatch;
use downlink_domain::id::{DeviceKey, HubName, IdentityName};
use downlink_domain::policy::Policy;
use downlink_domain::twin::TwinChange;
use downlink_ports::{ConnectionChange, PeerError, TwinApi, TwinView};
use downlink_proto::v1;
use downlink_proto::v1::twin_call::Call;
use downlink_proto::v1::twin_reply::Reply;
use downlink_proto::v1::twin_service_server::TwinService;
use tonic::{Request, Response, Status, Streaming};

use super::TwinStream;
use crate::failure::{refuse, to_status};
use crate::mux::{Dispatch, MAX_CALL_ITEMS, Session};
use crate::serving::Serving;
use crate::wire::access::name;
use crate::wire::common::actor;
use crate::wire::twin::{change_from_wire, spec};
use crate::wire::{FromWire, ToWire, WireError, object_from_wire, present};

/// Most devices that a caller may list.
const MAX_LISTED: u32 = 1000;

/// Serves registry and twins.
pub(crate) struct TwinServer {
    calls: Arc<Calls>,
    serving: Serving,
}

pub(crate) struct Calls {
    api: Arc<dyn TwinApi>,
}

impl TwinServer {
    pub(crate) fn new(api: Arc<dyn TwinApi>, serving: &Serving) -> Self {
        Self {
            calls: Arc::new(Calls { api }),
            serving: serving.clone(),
        }
    }

    fn api(&self) -> &dyn TwinApi {
        &*self.calls.api
    }
}

impl Dispatch<TwinStream> for Calls {
    fn dispatch(
        &self,
        call: Call,
    ) -> impl Future<Output = Result<Reply, PeerError>> + Send + 'static {
        let api = Arc::clone(&self.api);
        async move {
            match call {
                Call::OpenDevice(call) => open_device(&*api, call).await,
                Call::GetOwnTwin(call) => {
                    let twin = api.get_own_twin(DeviceKey(call.device_key)).await?;
                    let twin = Some(twin.to_wire());
                    Ok(Reply::GetOwnTwin(v1::GetOwnTwinReply { twin }))
                }
                Call::Report(call) => report(&*api, call).await,
                Call::SaveSessions(call) => save_sessions(&*api, call).await,
                Call::MissedChanges(call) => {
                    let (device, since) = FromWire::from_wire(call)?;
                    let missed = api.missed_changes(device, since).await?;
                    Ok(Reply::MissedChanges(missed.to_wire()))
                }
                Call::NoteTold(call) => {
                    if call.told.len() > MAX_CALL_ITEMS {
                        return Err(WireError::OutOfRange("number of items").into());
                    }
                    let told = call.told.into_iter();
                    let told = told.map(|told| (DeviceKey(told.device_key), told.version));
                    api.note_told(told.collect()).await?;
                    Ok(Reply::NoteTold(v1::NoteToldReply {}))
                }
                Call::RecordConnections(call) => {
                    let changes = Vec::<ConnectionChange>::from_wire(call)?;
                    api.record_connections(changes).await?;
                    Ok(Reply::RecordConnections(v1::RecordConnectionsReply {}))
                }
            }
        }
    }
}

async fn open_device(api: &dyn TwinApi, call: v1::OpenDeviceCall) -> Result<Reply, PeerError> {
    let (hub, name) = target(&call.hub, call.name)?;
    let reply = match api.open_device(hub, name).await? {
        None => v1::OpenDeviceReply::default(),
        Some(opened) => v1::OpenDeviceReply {
            device: Some(opened.device.to_wire()),
            session: opened.session,
        },
    };
    Ok(Reply::OpenDevice(reply))
}

async fn report(api: &dyn TwinApi, call: v1::ReportCall) -> Result<Reply, PeerError> {
    let change = TwinChange::Report {
        patch: object_from_wire("patch", &call.patch)?,
        expected_version: call.expected_version,
    };
    let version = api.report(DeviceKey(call.device_key), change).await?;
    Ok(Reply::Report(v1::ReportReply { version }))
}

async fn save_sessions(api: &dyn TwinApi, call: v1::SaveSessionsCall) -> Result<Reply, PeerError> {
    if call.sessions.len() > MAX_CALL_ITEMS {
        return Err(WireError::OutOfRange("number of items").into());
    }
    let sessions = call
        .sessions
        .into_iter()
        .map(|session| (DeviceKey(session.device_key), session.state))
        .collect();
    api.save_sessions(sessions).await?;
    Ok(Reply::SaveSessions(v1::SaveSessionsReply {}))
}

fn target(hub: &str, name: Option<v1::IdentityName>) -> Result<(HubName, IdentityName), WireError> {
    Ok((hub.parse()?, IdentityName::from_wire(name)?))
}

/// What every write of policies and authorities says.
fn write(
    hub: &str,
    if_match: Option<v1::IfMatch>,
    by: Option<v1::Actor>,
) -> Result<(HubName, IfMatch, Actor), WireError> {
    Ok((
        hub.parse()?,
        IfMatch::from_wire(if_match)?,
        Actor::from_wire(by)?,
    ))
}

#[tonic::async_trait]
impl TwinService for TwinServer {
    type CallsStream = Session<TwinStream, Calls>;

    async fn calls(
        &self,
        request: Request<Streaming<v1::TwinCalls>>,
    ) -> Result<Response<Self::CallsStream>, Status> {
        self.serving.admit_stream()?;
        let session = Session::new(&self.calls, request.into_inner(), &self.serving);
        Ok(Response::new(session))
    }

    async fn put_device(
        &self,
        request: Request<v1::PutDeviceRequest>,
    ) -> Result<Response<v1::PutDeviceResponse>, Status> {
        let mut request = request.into_inner();
        let (hub, name) = target(&request.hub, request.name.take()).map_err(refuse)?;
        let if_match = IfMatch::from_wire(request.if_match.take()).map_err(refuse)?;
        let by = actor(request.by.take()).map_err(refuse)?;
        let spec = spec(request).map_err(refuse)?;
        let put = self.api().put_device(hub, name, spec, if_match, by).await;
        let device = Some(put.map_err(to_status)?.to_wire());
        Ok(Response::new(v1::PutDeviceResponse { device }))
    }

    async fn delete_device(
        &self,
        request: Request<v1::DeleteDeviceRequest>,
    ) -> Result<Response<v1::DeleteDeviceResponse>, Status> {
        let request = request.into_inner();
        let (hub, name) = target(&request.hub, request.name).map_err(refuse)?;
        let if_match = IfMatch::from_wire(request.if_match).map_err(refuse)?;
        let by = actor(request.by).map_err(refuse)?;
        let deleted = self.api().delete_device(hub, name, if_match, by).await;
        deleted.map_err(to_status)?;
        Ok(Response::new(v1::DeleteDeviceResponse {}))
    }

    async fn find_device(
        &self,
        request: Request<v1::FindDeviceRequest>,
    ) -> Result<Response<v1::FindDeviceResponse>, Status> {
        let request = request.into_inner();
        let (hub, name) = target(&request.hub, request.name).map_err(refuse)?;
        let found = self.api().find_device(hub, name).await;
        let device = found.map_err(to_status)?.map(ToWire::to_wire);
        Ok(Response::new(v1::FindDeviceResponse { device }))
    }

    async fn list_devices(
        &self,
        request: Request<v1::ListDevicesRequest>,
    ) -> Result<Response<v1::ListDevicesResponse>, Status> {
        let request = request.into_inner();
        if !(1..=MAX_LISTED).contains(&request.limit) {
            return Err(refuse(WireError::OutOfRange("limit")));
        }
        let hub: HubName = request.hub.parse().map_err(refuse)?;
        let listed = self.api().list_devices(hub, request.limit).await;
        let listed = listed.map_err(to_status)?;
        let devices = listed.into_iter().map(ToWire::to_wire).collect();
        Ok(Response::new(v1::ListDevicesResponse { devices }))
    }

    async fn count_devices(
        &self,
        request: Request<v1::CountDevicesRequest>,
    ) -> Result<Response<v1::CountDevicesResponse>, Status> {
        let hub: HubName = request.into_inner().hub.parse().map_err(refuse)?;
        let counted = self.api().count_devices(hub).await.map_err(to_status)?;
        Ok(Response::new(v1::CountDevicesResponse {
            total: counted.total,
            enabled: counted.enabled,
            modules: counted.modules,
        }))
    }

    async fn get_twin(
        &self,
        request: Request<v1::GetTwinRequest>,
    ) -> Result<Response<v1::GetTwinResponse>, Status> {
        let request = request.into_inner();
        let (hub, name) = target(&request.hub, request.name).map_err(refuse)?;
        let TwinView { device, twin } = self.api().get_twin(hub, name).await.map_err(to_status)?;
        Ok(Response::new(v1::GetTwinResponse {
            device: Some(device.to_wire()),
            twin: Some(twin.to_wire()),
        }))
    }

    async fn update_twin(
        &self,
        request: Request<v1::UpdateTwinRequest>,
    ) -> Result<Response<v1::UpdateTwinResponse>, Status> {
        let request = request.into_inner();
        let (hub, name) = target(&request.hub, request.name).map_err(refuse)?;
        let change = change_from_wire(request.if_match, request.change).map_err(refuse)?;
        let updated = self.api().update_twin(hub, name, change).await;
        let TwinView { device, twin } = updated.map_err(to_status)?;
        Ok(Response::new(v1::UpdateTwinResponse {
            device: Some(device.to_wire()),
            twin: Some(twin.to_wire()),
        }))
    }

    async fn find_twin_versions(
        &self,
        request: Request<v1::FindTwinVersionsRequest>,
    ) -> Result<Response<v1::FindTwinVersionsResponse>, Status> {
        let keys = request.into_inner().device_keys;
        if keys.len() > MAX_CALL_ITEMS {
            return Err(refuse(WireError::OutOfRange("number of items")));
        }
        let devices = keys.into_iter().map(DeviceKey).collect();
        let versions = self.api().find_twin_versions(devices).await;
        let versions = versions.map_err(to_status)?.into_iter();
        Ok(Response::new(v1::FindTwinVersionsResponse {
            versions: versions.map(Option::unwrap_or_default).collect(),
        }))
    }

    async fn get_access(
        &self,
        request: Request<v1::GetAccessRequest>,
    ) -> Result<Response<v1::GetAccessResponse>, Status> {
        let request = request.into_inner();
        let hub: HubName = request.hub.parse().map_err(refuse)?;
        let access = self.api().access(hub, request.known_version).await;
        let snapshot = access.map_err(to_status)?.map(ToWire::to_wire);
        Ok(Response::new(v1::GetAccessResponse { snapshot }))
    }

    async fn put_policy(
        &self,
        request: Request<v1::PutPolicyRequest>,
    ) -> Result<Response<v1::PutPolicyResponse>, Status> {
        let request = request.into_inner();
        let (hub, if_match, by) =
            write(&request.hub, request.if_match, request.by).map_err(refuse)?;
        let policy = present("policy", request.policy).and_then(Policy::from_wire);
        let policy = policy.map_err(refuse)?;
        let put = self.api().put_policy(hub, policy, if_match, by).await;
        let policy = Some(put.map_err(to_status)?.to_wire());
        Ok(Response::new(v1::PutPolicyResponse { policy }))
    }

    async fn delete_policy(
        &self,
        request: Request<v1::DeletePolicyRequest>,
    ) -> Result<Response<v1::DeletePolicyResponse>, Status> {
        let request = request.into_inner();
        let (hub, if_match, by) =
            write(&request.hub, request.if_match, request.by).map_err(refuse)?;
        let name = name(request.name).map_err(refuse)?;
        let deleted = self.api().delete_policy(hub, name, if_match, by).await;
        deleted.map_err(to_status)?;
        Ok(Response::new(v1::DeletePolicyResponse {}))
    }

    async fn put_authority(
        &self,
        request: Request<v1::PutAuthorityRequest>,
    ) -> Result<Response<v1::PutAuthorityResponse>, Status> {
        let request = request.into_inner();
        let (hub, if_match, by) =
            write(&request.hub, request.if_match, request.by).map_err(refuse)?;
        let authority = present("authority", request.authority);
        let authority = authority.and_then(CertificateAuthority::from_wire);
        let authority = authority.map_err(refuse)?;
        let put = self.api().put_authority(hub, authority, if_match, by).await;
        let authority = Some(put.map_err(to_status)?.to_wire());
        Ok(Response::new(v1::PutAuthorityResponse { authority }))
    }

    async fn delete_authority(
        &self,
        request: Request<v1::DeleteAuthorityRequest>,
    ) -> Result<Response<v1::DeleteAuthorityResponse>, Status> {
        let request = request.into_inner();
        let (hub, if_match, by) =
            write(&request.hub, request.if_match, request.by).map_err(refuse)?;
        let name = name(request.name).map_err(refuse)?;
        let deleted = self.api().delete_authority(hub, name, if_match, by).await;
        deleted.map_err(to_status)?;
        Ok(Response::new(v1::DeleteAuthorityResponse {}))
    }
}
