//! Who is connected where.

use std::time::Duration;

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
///
/// An entry of a gateway that holds no lease ([`GatewayLeases`]) reads as absent and supersedes
/// nobody.
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

    /// Writes entries again after the directory may have lost them. By position: what happened to
    /// the entry. Safe to repeat; an entry that is there already is left as it is. At most 10,000
    /// entries a call.
    async fn restore(&self, entries: Vec<(DeviceKey, Route)>) -> Result<Vec<Restored>, StoreError>;

    /// Where each device is. By position.
    async fn lookup(&self, devices: &[DeviceKey]) -> Result<Vec<Option<Route>>, StoreError>;

    /// Watches one device; make the watch before the look-up whose gap it closes
    /// (methods.md §4.2).
    async fn watch(&self, device: DeviceKey) -> Result<Box<dyn PresenceWatch>, StoreError>;

    /// How many devices are connected.
    async fn connected_count(&self) -> Result<u64, StoreError>;
}

/// What became of an entry that was written again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Restored {
    /// The entry stands.
    Stands,
    /// A newer connection of the device is entered, on a gateway that holds its lease; this one
    /// must close.
    Superseded,
}

/// The word of a gateway that it is alive, and where the services reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayLease {
    /// Which gateway; new with every start of the process.
    pub gateway: GatewayId,
    /// Where its peers reach it, `host:port`; empty when only this process does.
    pub address: String,
    /// Device connections it holds.
    pub connections: u64,
}

/// Whether entries written under a lease may be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// The lease was held without a gap, by a directory that lost nothing.
    Kept,
    /// The lease had lapsed, is new, or the directory may have lost entries (it was emptied,
    /// restarted or failed over): the gateway must [`PresenceDirectory::restore`] all of its own.
    Anew,
}

/// Short leases of gateways. Time only frees: the order of two connections is that of their
/// epochs.
#[async_trait]
pub trait GatewayLeases: Send + Sync {
    /// Takes or renews the lease for `ttl` from now.
    async fn renew(&self, lease: GatewayLease, ttl: Duration) -> Result<LeaseState, StoreError>;

    /// Gives the lease back; entries of the gateway read as absent from then on.
    async fn release(&self, gateway: &GatewayId) -> Result<(), StoreError>;

    /// All gateways that hold a lease, at most 10,000, in no order.
    async fn gateways(&self) -> Result<Vec<GatewayLease>, StoreError>;
}
