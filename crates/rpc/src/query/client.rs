//! The calling side: the client of the twin service, whose nodes answer queries too.

use async_trait::async_trait;
use downlink_ports::{PeerError, QueryApi, QueryCall, QueryPage};
use downlink_proto::v1;
use downlink_proto::v1::query_service_client::QueryServiceClient;
use tonic::transport::Channel;

use crate::GrpcTwinClient;
use crate::carrier::MAX_FRAME_BYTES;
use crate::failure::unreadable;
use crate::nodes::Repeat;
use crate::wire::{FromWire, ToWire, WireError};

const SERVICE: &str = "query";

fn client(channel: Channel) -> QueryServiceClient<Channel> {
    QueryServiceClient::new(channel).max_decoding_message_size(MAX_FRAME_BYTES)
}

#[async_trait]
impl QueryApi for GrpcTwinClient {
    async fn query(&self, call: QueryCall) -> Result<QueryPage, PeerError> {
        // Queries are spread over the nodes by what they ask.
        let key = (call.hub.clone(), call.text.clone());
        let request: v1::QueryRequest = call.to_wire();
        let ask = async |channel, request| client(channel).query(request).await;
        let peer = self.peer();
        let timeout = peer.call_timeout();
        // A query that takes long would take as long at two nodes: never hedged.
        let asked = peer.unary(&key, Repeat::Harmless, timeout, request, ask);
        QueryPage::from_wire(asked.await?).map_err(broken)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn broken(error: WireError) -> PeerError {
    tracing::warn!(service = SERVICE, %error, "a reply breaks the contract");
    unreadable(SERVICE)
}
