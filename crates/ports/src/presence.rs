//! Who is connected where.

use async_trait::async_trait;
use downlink_domain::id::{ConnectionId, DeviceKey, GatewayId};
use downlink_domain::presence::{LeaseEpoch, Protocol, Route, Subscriptions};

use crate::StoreError;

/// What a connect changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connected {
    /// Epoch of the new connection, above every earlier one of the device.
    pub epoch: LeaseEpoch,
    /// The connection that must close now, if there was one.
    pub superseded: Option<Route>,
}

/// Waits for changes of one device's presence.
#[async_trait]
pub trait PresenceWatch: Send {
    /// Returns the route at the next change after the watch was made or after the last return;
    /// changes in between may fold into one.
    ///
    /// # Cancellation
    /// Safe: no change is lost by dropping the future.
    async fn changed(&mut self) -> Option<Route>;
}

/// Who is connected where. May be lost: gateways write their entries again.
#[async_trait]
pub trait PresenceDirectory: Send + Sync {
    /// Enters a connection under a new epoch; the newest wins.
    async fn connect(
        &self,
        device: DeviceKey,
        gateway: GatewayId,
        connection: ConnectionId,
        protocol: Protocol,
    ) -> Result<Connected, StoreError>;

    /// Notes what a connection has asked for; ignored when `epoch` is not the current one.
    async fn subscribe(
        &self,
        device: DeviceKey,
        epoch: LeaseEpoch,
        subscriptions: Subscriptions,
    ) -> Result<(), StoreError>;

    /// Removes connections; one whose epoch is not the current one is left alone.
    async fn disconnect(&self, devices: Vec<(DeviceKey, LeaseEpoch)>) -> Result<(), StoreError>;

    /// Where each device is. By position.
    async fn lookup(&self, devices: &[DeviceKey]) -> Result<Vec<Option<Route>>, StoreError>;

    /// Watches one device; make the watch before the look-up whose gap it closes
    /// (methods.md §4.2).
    async fn watch(&self, device: DeviceKey) -> Result<Box<dyn PresenceWatch>, StoreError>;

    /// How many devices are connected.
    async fn connected_count(&self) -> Result<u64, StoreError>;
}
