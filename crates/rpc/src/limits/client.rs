//! The calling side: the client of the twin service, whose nodes serve limits too.

use async_trait::async_trait;
use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::id::HubName;
use downlink_domain::limits::{LimitsChange, LimitsSnapshot};
use downlink_ports::{LimitsApi, PeerError};
use downlink_proto::v1;
use downlink_proto::v1::limits_service_client::LimitsServiceClient;
use tonic::transport::Channel;

use crate::GrpcTwinClient;
use crate::carrier::MAX_FRAME_BYTES;
use crate::failure::unreadable;
use crate::nodes::Repeat;
use crate::wire::limits::change_to_wire;
use crate::wire::{FromWire, ToWire, WireError, present};

const SERVICE: &str = "limits";

fn client(channel: Channel) -> LimitsServiceClient<Channel> {
    LimitsServiceClient::new(channel).max_decoding_message_size(MAX_FRAME_BYTES)
}

#[async_trait]
impl LimitsApi for GrpcTwinClient {
    async fn limits(
        &self,
        hub: HubName,
        known: Option<u64>,
    ) -> Result<Option<LimitsSnapshot>, PeerError> {
        let request = v1::GetLimitsRequest {
            hub: hub.to_string(),
            known_version: known,
        };
        let call = async |channel, request| client(channel).get_limits(request).await;
        let peer = self.peer();
        let timeout = peer.call_timeout();
        let asked = peer.unary(&hub, Repeat::Read, timeout, request, call);
        let snapshot = asked.await?.snapshot.map(LimitsSnapshot::from_wire);
        snapshot.transpose().map_err(broken)
    }

    async fn change_limits(
        &self,
        hub: HubName,
        change: LimitsChange,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<LimitsSnapshot, PeerError> {
        let (replaces, limits) = change_to_wire(change);
        let request = v1::ChangeLimitsRequest {
            hub: hub.to_string(),
            replaces,
            limits,
            if_match: if_match.to_wire(),
            by: by.to_wire(),
        };
        let call = async |channel, request| client(channel).change_limits(request).await;
        let peer = self.peer();
        let timeout = peer.call_timeout();
        let asked = peer.unary(&hub, Repeat::Never, timeout, request, call);
        let snapshot = present("snapshot", asked.await?.snapshot);
        snapshot.and_then(LimitsSnapshot::from_wire).map_err(broken)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn broken(error: WireError) -> PeerError {
    tracing::warn!(service = SERVICE, %error, "a reply breaks the contract");
    unreadable(SERVICE)
}
