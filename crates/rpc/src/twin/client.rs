//! The calling side.

use std::hash::Hash;

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::ErrorCode;
use downlink_domain::access::Actor;
use downlink_domain::authority::CertificateAuthority;
use downlink_domain::device::{Device, DeviceSpec, IfMatch};
use downlink_domain::id::{DeviceKey, HubName, IdentityName};
use downlink_domain::policy::Policy;
use downlink_domain::twin::{Twin, TwinChange};
use downlink_ports::{
    AccessSnapshot, ConnectionChange, MissedChanges, OpenedDevice, PeerError, RegistryCounts,
    Since, TwinApi, TwinView,
};
use downlink_proto::v1;
use downlink_proto::v1::twin_call::Call;
use downlink_proto::v1::twin_reply::Reply;
use downlink_proto::v1::twin_service_client::TwinServiceClient;
use downlink_runtime::Lifecycle;
use tonic::transport::Channel;

use super::TwinStream;
use crate::carrier::{Endpoint, MAX_FRAME_BYTES};
use crate::failure::unreadable;
use crate::mux::{CallStream, Item, MuxOptions};
use crate::nodes::{Peer, Repeat};
use crate::wire::twin::{change_to_wire, view};
use crate::wire::{FromWire, ToWire, WireError, object_to_wire, present, read_all};

const SERVICE: &str = TwinStream::SERVICE;

/// A twin service behind a carrier. Dropping it closes its connections.
pub struct GrpcTwinClient {
    peer: Peer<TwinStream>,
}

impl GrpcTwinClient {
    /// Begins to connect; calls wait for the first attempt.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(endpoint: &Endpoint, options: MuxOptions, lifecycle: &Lifecycle) -> Self {
        Self::over(Peer::one(endpoint, &options, lifecycle))
    }

    pub(crate) fn over(peer: Peer<TwinStream>) -> Self {
        Self { peer }
    }

    /// The nodes, for what they serve besides.
    pub(crate) fn peer(&self) -> &Peer<TwinStream> {
        &self.peer
    }
}

fn client(channel: Channel) -> TwinServiceClient<Channel> {
    TwinServiceClient::new(channel).max_decoding_message_size(MAX_FRAME_BYTES)
}

impl ToWire for (DeviceKey, Option<Bytes>) {
    type Wire = v1::Session;

    fn to_wire(self) -> v1::Session {
        v1::Session {
            device_key: self.0.0,
            state: self.1,
        }
    }
}

impl Item for (DeviceKey, Option<Bytes>) {
    fn lane_key(&self) -> impl Hash + '_ {
        self.0
    }
}

impl ToWire for (DeviceKey, u64) {
    type Wire = v1::ToldDevice;

    fn to_wire(self) -> v1::ToldDevice {
        v1::ToldDevice {
            device_key: self.0.0,
            version: self.1,
        }
    }
}

impl Item for (DeviceKey, u64) {
    fn lane_key(&self) -> impl Hash + '_ {
        self.0
    }
}

impl Item for ConnectionChange {
    fn lane_key(&self) -> impl Hash + '_ {
        self.device
    }
}

#[async_trait]
impl TwinApi for GrpcTwinClient {
    async fn open_device(
        &self,
        hub: HubName,
        name: IdentityName,
    ) -> Result<Option<OpenedDevice>, PeerError> {
        let key = (hub.clone(), name.device.clone());
        let call = Call::OpenDevice(v1::OpenDeviceCall {
            hub: hub.to_string(),
            name: Some(name.to_wire()),
        });
        let Reply::OpenDevice(reply) = self.peer.call(&key, call, None, Repeat::Read).await? else {
            return Err(unreadable(SERVICE));
        };
        let Some(device) = reply.device else {
            return Ok(None);
        };
        Ok(Some(OpenedDevice {
            device: Device::from_wire(device).map_err(broken)?,
            // Held as long as the connection: it must not keep a whole batch in memory.
            session: reply
                .session
                .map(|session| Bytes::copy_from_slice(&session)),
        }))
    }

    async fn save_sessions(
        &self,
        sessions: Vec<(DeviceKey, Option<Bytes>)>,
    ) -> Result<(), PeerError> {
        let make = |sessions| Call::SaveSessions(v1::SaveSessionsCall { sessions });
        let read = |reply, positions: &[usize]| match reply {
            Reply::SaveSessions(_) => Ok(vec![(); positions.len()]),
            _ => Err(unreadable(SERVICE)),
        };
        self.peer
            .call_with_items(sessions, Repeat::Harmless, make, read)
            .await?;
        Ok(())
    }

    async fn record_connections(&self, changes: Vec<ConnectionChange>) -> Result<(), PeerError> {
        let make = |changes| Call::RecordConnections(v1::RecordConnectionsCall { changes });
        let read = |reply, positions: &[usize]| match reply {
            Reply::RecordConnections(_) => Ok(vec![(); positions.len()]),
            _ => Err(unreadable(SERVICE)),
        };
        self.peer
            .call_with_items(changes, Repeat::Harmless, make, read)
            .await?;
        Ok(())
    }

    async fn put_device(
        &self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<Device, PeerError> {
        let request = v1::PutDeviceRequest {
            hub: hub.to_string(),
            name: Some(name.clone().to_wire()),
            if_match: if_match.to_wire(),
            status: spec.status.to_wire().into(),
            status_reason: spec.status_reason,
            authentication: spec.authentication.to_wire(),
            is_edge: spec.is_edge,
            by: by.to_wire(),
            managed_by: spec.managed_by,
            device_scope: spec.device_scope,
            parent_scopes: spec.parent_scopes,
        };
        let call = async |channel, request| client(channel).put_device(request).await;
        let timeout = self.peer.call_timeout();
        let response = self
            .peer
            .unary(&(&hub, &name.device), Repeat::Never, timeout, request, call)
            .await?;
        let device = present("device", response.device).and_then(Device::from_wire);
        device.map_err(broken)
    }

    async fn delete_device(
        &self,
        hub: HubName,
        name: IdentityName,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<(), PeerError> {
        let request = v1::DeleteDeviceRequest {
            hub: hub.to_string(),
            name: Some(name.clone().to_wire()),
            if_match: if_match.to_wire(),
            by: by.to_wire(),
        };
        let call = async |channel, request| client(channel).delete_device(request).await;
        let timeout = self.peer.call_timeout();
        self.peer
            .unary(&(&hub, &name.device), Repeat::Never, timeout, request, call)
            .await?;
        Ok(())
    }

    async fn find_device(
        &self,
        hub: HubName,
        name: IdentityName,
    ) -> Result<Option<Device>, PeerError> {
        let request = v1::FindDeviceRequest {
            hub: hub.to_string(),
            name: Some(name.clone().to_wire()),
        };
        let call = async |channel, request| client(channel).find_device(request).await;
        let timeout = self.peer.call_timeout();
        let response = self
            .peer
            .unary(&(&hub, &name.device), Repeat::Read, timeout, request, call)
            .await?;
        let device = response.device.map(Device::from_wire).transpose();
        device.map_err(broken)
    }

    async fn list_devices(&self, hub: HubName, limit: u32) -> Result<Vec<Device>, PeerError> {
        let request = v1::ListDevicesRequest {
            hub: hub.to_string(),
            limit,
        };
        let call = async |channel, request| client(channel).list_devices(request).await;
        let timeout = self.peer.call_timeout();
        let response = self
            .peer
            .unary(&hub, Repeat::Read, timeout, request, call)
            .await?;
        read_all(response.devices).map_err(broken)
    }

    async fn count_devices(&self, hub: HubName) -> Result<RegistryCounts, PeerError> {
        let request = v1::CountDevicesRequest {
            hub: hub.to_string(),
        };
        let call = async |channel, request| client(channel).count_devices(request).await;
        let timeout = self.peer.call_timeout();
        let response = self
            .peer
            .unary(&hub, Repeat::Read, timeout, request, call)
            .await?;
        Ok(RegistryCounts {
            total: response.total,
            enabled: response.enabled,
            modules: response.modules,
        })
    }

    async fn get_twin(&self, hub: HubName, name: IdentityName) -> Result<TwinView, PeerError> {
        let request = v1::GetTwinRequest {
            hub: hub.to_string(),
            name: Some(name.clone().to_wire()),
        };
        let call = async |channel, request| client(channel).get_twin(request).await;
        let timeout = self.peer.call_timeout();
        let response = self
            .peer
            .unary(&(&hub, &name.device), Repeat::Read, timeout, request, call)
            .await?;
        view(response.device, response.twin).map_err(broken)
    }

    async fn update_twin(
        &self,
        hub: HubName,
        name: IdentityName,
        change: TwinChange,
    ) -> Result<TwinView, PeerError> {
        let Some((if_match, change)) = change_to_wire(&change) else {
            return Err(PeerError::Refused {
                code: ErrorCode::InvalidOperation,
                message: "reported properties are written by the device alone".to_owned(),
            });
        };
        let request = v1::UpdateTwinRequest {
            hub: hub.to_string(),
            name: Some(name.clone().to_wire()),
            if_match,
            change: Some(change),
        };
        let call = async |channel, request| client(channel).update_twin(request).await;
        let timeout = self.peer.call_timeout();
        let response = self
            .peer
            .unary(&(&hub, &name.device), Repeat::Never, timeout, request, call)
            .await?;
        view(response.device, response.twin).map_err(broken)
    }

    async fn get_own_twin(&self, device: DeviceKey) -> Result<Twin, PeerError> {
        let call = Call::GetOwnTwin(v1::GetOwnTwinCall {
            device_key: device.0,
        });
        match self.peer.call(&device, call, None, Repeat::Read).await? {
            Reply::GetOwnTwin(reply) => Twin::from_wire(reply.twin).map_err(broken),
            _ => Err(unreadable(SERVICE)),
        }
    }

    async fn missed_changes(
        &self,
        device: DeviceKey,
        since: Since,
    ) -> Result<MissedChanges, PeerError> {
        let call = Call::MissedChanges((device, since).to_wire());
        match self.peer.call(&device, call, None, Repeat::Read).await? {
            Reply::MissedChanges(reply) => Ok(MissedChanges::from_wire(reply).map_err(broken)?),
            _ => Err(unreadable(SERVICE)),
        }
    }

    async fn note_told(&self, told: Vec<(DeviceKey, u64)>) -> Result<(), PeerError> {
        let make = |told| Call::NoteTold(v1::NoteToldCall { told });
        let read = |reply, positions: &[usize]| match reply {
            Reply::NoteTold(_) => Ok(vec![(); positions.len()]),
            _ => Err(unreadable(SERVICE)),
        };
        self.peer
            .call_with_items(told, Repeat::Harmless, make, read)
            .await?;
        Ok(())
    }

    async fn find_twin_versions(
        &self,
        devices: Vec<DeviceKey>,
    ) -> Result<Vec<Option<u64>>, PeerError> {
        let expected = devices.len();
        let first = devices.first().copied();
        let request = v1::FindTwinVersionsRequest {
            device_keys: devices.into_iter().map(|key| key.0).collect(),
        };
        let call = async |channel, request| client(channel).find_twin_versions(request).await;
        let timeout = self.peer.call_timeout();
        let response = self
            .peer
            .unary(&first, Repeat::Read, timeout, request, call)
            .await?;
        if response.versions.len() != expected {
            return Err(unreadable(SERVICE));
        }
        let known = |version| (version > 0).then_some(version);
        Ok(response.versions.into_iter().map(known).collect())
    }

    async fn report(&self, device: DeviceKey, change: TwinChange) -> Result<u64, PeerError> {
        let TwinChange::Report {
            patch,
            expected_version,
        } = change
        else {
            return Err(PeerError::Refused {
                code: ErrorCode::InvalidOperation,
                message: "a device writes its reported properties alone".to_owned(),
            });
        };
        let call = Call::Report(v1::ReportCall {
            device_key: device.0,
            patch: object_to_wire(&patch),
            expected_version,
        });
        match self.peer.call(&device, call, None, Repeat::Never).await? {
            Reply::Report(reply) => Ok(reply.version),
            _ => Err(unreadable(SERVICE)),
        }
    }

    async fn access(
        &self,
        hub: HubName,
        known: Option<u64>,
    ) -> Result<Option<AccessSnapshot>, PeerError> {
        let request = v1::GetAccessRequest {
            hub: hub.to_string(),
            known_version: known,
        };
        let call = async |channel, request| client(channel).get_access(request).await;
        let timeout = self.peer.call_timeout();
        let response = self
            .peer
            .unary(&hub, Repeat::Read, timeout, request, call)
            .await?;
        let snapshot = response.snapshot.map(AccessSnapshot::from_wire);
        snapshot.transpose().map_err(broken)
    }

    async fn put_policy(
        &self,
        hub: HubName,
        policy: Policy,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<Policy, PeerError> {
        let request = v1::PutPolicyRequest {
            hub: hub.to_string(),
            policy: Some(policy.to_wire()),
            if_match: if_match.to_wire(),
            by: by.to_wire(),
        };
        let call = async |channel, request| client(channel).put_policy(request).await;
        let timeout = self.peer.call_timeout();
        let response = self
            .peer
            .unary(&hub, Repeat::Never, timeout, request, call)
            .await?;
        let policy = present("policy", response.policy).and_then(Policy::from_wire);
        policy.map_err(broken)
    }

    async fn delete_policy(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<(), PeerError> {
        let request = v1::DeletePolicyRequest {
            hub: hub.to_string(),
            name,
            if_match: if_match.to_wire(),
            by: by.to_wire(),
        };
        let call = async |channel, request| client(channel).delete_policy(request).await;
        let timeout = self.peer.call_timeout();
        self.peer
            .unary(&hub, Repeat::Never, timeout, request, call)
            .await?;
        Ok(())
    }

    async fn put_authority(
        &self,
        hub: HubName,
        authority: CertificateAuthority,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<CertificateAuthority, PeerError> {
        let request = v1::PutAuthorityRequest {
            hub: hub.to_string(),
            authority: Some(authority.to_wire()),
            if_match: if_match.to_wire(),
            by: by.to_wire(),
        };
        let call = async |channel, request| client(channel).put_authority(request).await;
        let timeout = self.peer.call_timeout();
        let response = self
            .peer
            .unary(&hub, Repeat::Never, timeout, request, call)
            .await?;
        let authority = present("authority", response.authority);
        let authority = authority.and_then(CertificateAuthority::from_wire);
        authority.map_err(broken)
    }

    async fn delete_authority(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<(), PeerError> {
        let request = v1::DeleteAuthorityRequest {
            hub: hub.to_string(),
            name,
            if_match: if_match.to_wire(),
            by: by.to_wire(),
        };
        let call = async |channel, request| client(channel).delete_authority(request).await;
        let timeout = self.peer.call_timeout();
        self.peer
            .unary(&hub, Repeat::Never, timeout, request, call)
            .await?;
        Ok(())
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn broken(error: WireError) -> PeerError {
    tracing::warn!(service = SERVICE, %error, "a reply breaks the contract");
    unreadable(SERVICE)
}
