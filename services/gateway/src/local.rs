//! This gateway, as the other services see it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::id::DeviceKey;
use downlink_domain::method::{MethodAnswer, MethodError};
use downlink_domain::presence::DisconnectReason;
use downlink_ports::{Disconnect, GatewayApi, MethodDelivery, Notify, PeerError};
use futures::future::join_all;
use tokio::sync::oneshot;
use tracing::debug;

use crate::connections::Connections;
use crate::mailbox::Invocation;

/// How long an order to end superseded connections waits for what they hold.
const GIVE_BACK: Duration = Duration::from_secs(1);

/// The connections of this gateway behind the port.
#[derive(Debug)]
pub struct LocalGateway {
    connections: Arc<Connections>,
}

impl LocalGateway {
    /// Makes the door to `connections`.
    pub fn new(connections: Arc<Connections>) -> Self {
        Self { connections }
    }
}

#[async_trait]
impl GatewayApi for LocalGateway {
    async fn wake(&self, devices: Vec<DeviceKey>) -> Result<(), PeerError> {
        for handle in devices
            .into_iter()
            .filter_map(|device| self.connections.find(device))
        {
            handle.mailbox.wake();
        }
        Ok(())
    }

    async fn invoke(&self, delivery: MethodDelivery) -> Result<MethodAnswer, MethodError> {
        let handle = self
            .connections
            .find(delivery.device)
            .filter(|handle| handle.epoch == delivery.epoch)
            .ok_or(MethodError::NotOnline)?;
        if !handle.subscriptions().methods {
            return Err(MethodError::NotSubscribed);
        }
        let (reply, outcome) = oneshot::channel();
        handle.mailbox.invoke(Invocation {
            name: delivery.name,
            payload: delivery.payload,
            reply,
        });
        match tokio::time::timeout(delivery.timeout, outcome).await {
            Err(_) => Err(MethodError::TimedOut),
            Ok(Err(_)) => Err(MethodError::ConnectionLost),
            Ok(Ok(outcome)) => outcome,
        }
    }

    async fn notify(&self, changes: Vec<Notify>) -> Result<(), PeerError> {
        for change in changes {
            let Some(handle) = self.connections.find(change.device) else {
                continue;
            };
            if handle.subscriptions().desired && handle.mailbox.notify(change) {
                debug!("a desired change was shed for a newer one");
            }
        }
        Ok(())
    }

    async fn disconnect(&self, orders: Vec<Disconnect>) -> Result<(), PeerError> {
        let mut returns = Vec::new();
        for order in orders {
            let Some(handle) = self.connections.find(order.device) else {
                continue;
            };
            if handle.epoch > order.up_to {
                continue;
            }
            handle.mailbox.close(order.reason);
            // Whoever superseded it asks for no messages until this is answered.
            if order.reason == DisconnectReason::Superseded {
                returns.extend(handle.await_return());
            }
        }
        if tokio::time::timeout(GIVE_BACK, join_all(returns))
            .await
            .is_err()
        {
            debug!("a superseded connection still holds messages");
        }
        Ok(())
    }
}
