//! Gateways that are not called yet, and gateways that are not known yet.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use downlink_domain::id::{DeviceKey, GatewayId};
use downlink_domain::method::{MethodAnswer, MethodError};
use downlink_ports::{Disconnect, GatewayApi, Gateways, MethodDelivery, Notify, PeerError};
use downlink_runtime::Lifecycle;
use tracing::debug;

use super::task::Looks;
use crate::carrier::Endpoint;
use crate::gateway_pool::GatewayPool;
use crate::{GrpcGatewayClient, MuxOptions};

const GONE: PeerError = PeerError::Unavailable { service: "gateway" };

/// A gateway that is connected to when it is first called.
pub(super) struct LazyGateway {
    endpoint: Endpoint,
    mux: MuxOptions,
    lifecycle: Lifecycle,
    client: OnceLock<GrpcGatewayClient>,
}

impl LazyGateway {
    pub(super) fn new(endpoint: Endpoint, mux: MuxOptions, lifecycle: Lifecycle) -> Self {
        Self {
            endpoint,
            mux,
            lifecycle,
            client: OnceLock::new(),
        }
    }

    fn client(&self) -> &GrpcGatewayClient {
        self.client
            .get_or_init(|| GrpcGatewayClient::new(&self.endpoint, self.mux, &self.lifecycle))
    }
}

#[async_trait]
impl GatewayApi for LazyGateway {
    async fn wake(&self, devices: Vec<DeviceKey>) -> Result<(), PeerError> {
        self.client().wake(devices).await
    }

    async fn invoke(&self, delivery: MethodDelivery) -> Result<MethodAnswer, MethodError> {
        self.client().invoke(delivery).await
    }

    async fn notify(&self, changes: Vec<Notify>) -> Result<(), PeerError> {
        self.client().notify(changes).await
    }

    async fn disconnect(&self, orders: Vec<Disconnect>) -> Result<(), PeerError> {
        self.client().disconnect(orders).await
    }
}

/// A gateway that a route names and nobody has seen: it is looked for when it is called.
pub(super) struct StandIn {
    id: GatewayId,
    pool: GatewayPool,
    looks: Looks,
}

impl StandIn {
    pub(super) fn new(id: GatewayId, pool: GatewayPool, looks: Looks) -> Self {
        Self { id, pool, looks }
    }

    async fn gateway(&self) -> Option<Arc<dyn GatewayApi>> {
        if let Some(known) = self.pool.find(&self.id) {
            return Some(known);
        }
        self.looks.ask().await;
        let found = self.pool.find(&self.id);
        if found.is_none() {
            debug!(gateway.id = %self.id, "presence names a gateway that holds no lease");
        }
        found
    }
}

#[async_trait]
impl GatewayApi for StandIn {
    async fn wake(&self, devices: Vec<DeviceKey>) -> Result<(), PeerError> {
        self.gateway().await.ok_or(GONE)?.wake(devices).await
    }

    async fn invoke(&self, delivery: MethodDelivery) -> Result<MethodAnswer, MethodError> {
        // Nothing was handed over: the route is stale.
        let gateway = self.gateway().await.ok_or(MethodError::NotOnline)?;
        gateway.invoke(delivery).await
    }

    async fn notify(&self, changes: Vec<Notify>) -> Result<(), PeerError> {
        self.gateway().await.ok_or(GONE)?.notify(changes).await
    }

    async fn disconnect(&self, orders: Vec<Disconnect>) -> Result<(), PeerError> {
        self.gateway().await.ok_or(GONE)?.disconnect(orders).await
    }
}
