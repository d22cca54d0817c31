//! The calling side: the client of the twin service, whose nodes serve the registry too.

use async_trait::async_trait;
use downlink_domain::access::Actor;
use downlink_domain::device::Device;
use downlink_domain::id::{DeviceId, HubName};
use downlink_ports::{ItemOutcome, PeerError, RegistryApi, RegistryItem};
use downlink_proto::v1;
use downlink_proto::v1::registry_service_client::RegistryServiceClient;
use tonic::transport::Channel;

use crate::GrpcTwinClient;
use crate::carrier::MAX_FRAME_BYTES;
use crate::failure::unreadable;
use crate::nodes::Repeat;
use crate::wire::registry::outcome_from_wire;
use crate::wire::{ToWire, WireError, read_all};

pub(super) const SERVICE: &str = "registry";

fn client(channel: Channel) -> RegistryServiceClient<Channel> {
    RegistryServiceClient::new(channel).max_decoding_message_size(MAX_FRAME_BYTES)
}

#[async_trait]
impl RegistryApi for GrpcTwinClient {
    async fn list_modules(&self, hub: HubName, device: DeviceId) -> Result<Vec<Device>, PeerError> {
        let request = v1::ListModulesRequest {
            hub: hub.to_string(),
            device_id: device.to_string(),
        };
        let call = async |channel, request| client(channel).list_modules(request).await;
        let peer = self.peer();
        let timeout = peer.call_timeout();
        let response = peer
            .unary(&(&hub, &device), Repeat::Read, timeout, request, call)
            .await?;
        read_all(response.modules).map_err(broken)
    }

    async fn write_identities(
        &self,
        hub: HubName,
        items: Vec<RegistryItem>,
        by: Actor,
    ) -> Result<Vec<ItemOutcome>, PeerError> {
        let expected = items.len();
        let request = v1::WriteIdentitiesRequest {
            hub: hub.to_string(),
            items: items.into_iter().map(ToWire::to_wire).collect(),
            by: by.to_wire(),
        };
        let call = async |channel, request| client(channel).write_identities(request).await;
        let peer = self.peer();
        let timeout = peer.call_timeout();
        let asked = peer.unary(&hub, Repeat::Never, timeout, request, call);
        let outcomes = asked.await?.outcomes;
        if outcomes.len() != expected {
            return Err(unreadable(SERVICE));
        }
        let outcomes = outcomes
            .into_iter()
            .map(|outcome| outcome_from_wire(SERVICE, outcome));
        outcomes.collect::<Result<_, _>>().map_err(broken)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn broken(error: WireError) -> PeerError {
    tracing::warn!(service = SERVICE, %error, "a reply breaks the contract");
    unreadable(SERVICE)
}
