//! The calling side.

use std::hash::Hash;

use async_trait::async_trait;
use downlink_domain::id::DeviceKey;
use downlink_domain::method::{MethodAnswer, MethodError};
use downlink_ports::{Disconnect, GatewayApi, MethodDelivery, Notify, PeerError};
use downlink_proto::v1;
use downlink_proto::v1::gateway_call::Call;
use downlink_proto::v1::gateway_reply::Reply;
use downlink_proto::v1::gateway_service_client::GatewayServiceClient;
use downlink_runtime::Lifecycle;

use super::GatewayStream;
use crate::carrier::Endpoint;
use crate::failure::{METHOD_MARGIN, to_method_error, unreadable};
use crate::mux::{CallStream, Item, MuxOptions};
use crate::nodes::{Peer, Repeat};
use crate::wire::ToWire;
use crate::wire::common::outcome_from_wire;

const SERVICE: &str = GatewayStream::SERVICE;

/// A gateway behind a carrier. Dropping it closes its connections.
pub struct GrpcGatewayClient {
    peer: Peer<GatewayStream>,
}

impl GrpcGatewayClient {
    /// Begins to connect; calls wait for the first attempt.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(endpoint: &Endpoint, options: MuxOptions, lifecycle: &Lifecycle) -> Self {
        Self {
            peer: Peer::one(endpoint, &options, lifecycle),
        }
    }
}

impl Item for DeviceKey {
    fn lane_key(&self) -> impl Hash + '_ {
        *self
    }
}

impl ToWire for DeviceKey {
    type Wire = i64;

    fn to_wire(self) -> i64 {
        self.0
    }
}

impl Item for Notify {
    fn lane_key(&self) -> impl Hash + '_ {
        self.device
    }
}

#[async_trait]
impl GatewayApi for GrpcGatewayClient {
    async fn wake(&self, devices: Vec<DeviceKey>) -> Result<(), PeerError> {
        let make = |device_keys| Call::Wake(v1::WakeCall { device_keys });
        let read = |reply, positions: &[usize]| match reply {
            Reply::Wake(_) => Ok(vec![(); positions.len()]),
            _ => Err(unreadable(SERVICE)),
        };
        self.peer
            .call_with_items(devices, Repeat::Never, make, read)
            .await?;
        Ok(())
    }

    async fn invoke(&self, delivery: MethodDelivery) -> Result<MethodAnswer, MethodError> {
        // The gateway ends the call in time; this is for a gateway that does not.
        let timeout = delivery.timeout + METHOD_MARGIN;
        let device = delivery.device;
        let call = Call::Invoke(delivery.to_wire());
        let invoked = self.peer.call(&device, call, Some(timeout), Repeat::Never);
        match invoked.await {
            Ok(Reply::Invoke(outcome)) => outcome_from_wire(outcome),
            Ok(_) => Err(MethodError::Unavailable),
            Err(error) => Err(to_method_error(&error)),
        }
    }

    async fn notify(&self, changes: Vec<Notify>) -> Result<(), PeerError> {
        let make = |changes| Call::Notify(v1::NotifyCall { changes });
        let read = |reply, positions: &[usize]| match reply {
            Reply::Notify(_) => Ok(vec![(); positions.len()]),
            _ => Err(unreadable(SERVICE)),
        };
        self.peer
            .call_with_items(changes, Repeat::Never, make, read)
            .await?;
        Ok(())
    }

    async fn disconnect(&self, orders: Vec<Disconnect>) -> Result<(), PeerError> {
        let request = v1::DisconnectRequest {
            orders: orders.into_iter().map(ToWire::to_wire).collect(),
        };
        let call =
            async |channel, request| GatewayServiceClient::new(channel).disconnect(request).await;
        let timeout = self.peer.call_timeout();
        self.peer
            .unary(&(), Repeat::Never, timeout, request, call)
            .await?;
        Ok(())
    }
}
