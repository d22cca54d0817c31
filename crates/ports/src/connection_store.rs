//! Durable records of who is connected.
//!
//! Presence says where a device is now and may be lost; these records say whether it is connected
//! and since when, and make the events of connects and disconnects.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::{DeviceKey, GatewayId, HubName};
use downlink_domain::presence::{ConnectionEnd, ConnectionReport, LeaseEpoch};

use crate::{PeerError, StoreError};

/// A report of one connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionChange {
    /// Whose.
    pub device: DeviceKey,
    /// Which of its connections.
    pub epoch: LeaseEpoch,
    /// The gateway that holds or held it, and reports.
    pub gateway: GatewayId,
    /// What is reported.
    pub report: ConnectionReport,
    /// When.
    pub at: Timestamp,
    /// When the device last connected, sent or received, [`Timestamp::UNSET`] when that is not known.
    pub active_at: Timestamp,
}

/// Durable records of connections, one per identity
/// ([`ConnectionRecord`](downlink_domain::presence::ConnectionRecord)).
///
/// A deletion of an identity that is connected tells its disconnect too, in its own transaction
/// ([`DeviceRegistry::delete`](crate::DeviceRegistry::delete)).
#[async_trait]
pub trait ConnectionStore: Send + Sync {
    /// Has the records take reports, those of one identity in the order given, and stores an event
    /// for each change that this tells, in the same transaction. Repeating a report changes and
    /// tells nothing; reports of identities that are gone are dropped. Times of state and activity
    /// only move forward.
    async fn record_connections(&self, changes: Vec<ConnectionChange>) -> Result<(), StoreError>;

    /// Ends connections that their gateway did not report, where the record still has them under
    /// these epochs; what somebody else writes at this moment is passed over. At most 10,000 a
    /// call. Returns how many were ended.
    async fn presume_ended(
        &self,
        connections: Vec<(DeviceKey, LeaseEpoch)>,
        end: ConnectionEnd,
        now: Timestamp,
    ) -> Result<u64, StoreError>;

    /// The gateways that hold connections, as the records say; at most 10,000.
    async fn connected_gateways(&self) -> Result<Vec<GatewayId>, StoreError>;

    /// Recorded connections of a gateway after the key `after`, in the order of keys, at most
    /// `limit` (1–10,000).
    async fn list_connected(
        &self,
        gateway: GatewayId,
        after: DeviceKey,
        limit: u32,
    ) -> Result<Vec<(DeviceKey, LeaseEpoch)>, StoreError>;

    /// How many devices of the hub are connected; modules are not counted.
    async fn count_connected(&self, hub: HubName) -> Result<u64, StoreError>;

    /// Notes when identities were last active; times only move forward.
    async fn record_activity(&self, seen: Vec<(DeviceKey, Timestamp)>) -> Result<(), StoreError>;
}

/// What gateways tell and ask of connections, besides
/// [`TwinApi::record_connections`](crate::TwinApi::record_connections).
#[async_trait]
pub trait ConnectionApi: Send + Sync {
    /// Notes when identities were last active, at most 10,000 a call; may be lost.
    async fn record_activity(&self, seen: Vec<(DeviceKey, Timestamp)>) -> Result<(), PeerError>;

    /// How many devices of the hub are connected; may be a second old.
    async fn count_connected(&self, hub: HubName) -> Result<u64, PeerError>;
}
