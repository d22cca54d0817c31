//! The calling side: the client of the twin service, whose nodes serve this too.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::{DeviceKey, HubName};
use downlink_ports::{ConnectionApi, PeerError};
use downlink_proto::v1;
use downlink_proto::v1::connection_service_client::ConnectionServiceClient;
use tonic::transport::Channel;

use crate::GrpcTwinClient;
use crate::carrier::MAX_FRAME_BYTES;
use crate::nodes::Repeat;

fn client(channel: Channel) -> ConnectionServiceClient<Channel> {
    ConnectionServiceClient::new(channel).max_decoding_message_size(MAX_FRAME_BYTES)
}

#[async_trait]
impl ConnectionApi for GrpcTwinClient {
    async fn record_activity(&self, seen: Vec<(DeviceKey, Timestamp)>) -> Result<(), PeerError> {
        let first = seen.first().map(|(device, _)| *device);
        let seen = seen
            .into_iter()
            .map(|(device, at)| (device.0, at.as_millis()));
        let (device_keys, instants) = seen.unzip();
        let request = v1::RecordActivityRequest {
            device_keys,
            instants,
        };
        let call = async |channel, request| client(channel).record_activity(request).await;
        let peer = self.peer();
        let timeout = peer.call_timeout();
        peer.unary(&first, Repeat::Harmless, timeout, request, call)
            .await?;
        Ok(())
    }

    async fn count_connected(&self, hub: HubName) -> Result<u64, PeerError> {
        let request = v1::CountConnectedRequest {
            hub: hub.to_string(),
        };
        let call = async |channel, request| client(channel).count_connected(request).await;
        let peer = self.peer();
        let timeout = peer.call_timeout();
        let counted = peer.unary(&hub, Repeat::Read, timeout, request, call);
        Ok(counted.await?.devices)
    }
}
