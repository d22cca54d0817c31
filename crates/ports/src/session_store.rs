//! Durable MQTT sessions.

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::id::DeviceKey;

use crate::StoreError;

/// Durable MQTT session state, opaque to the store; it outlives connections and gateways and
/// ends with its identity (mqtt.md §4.1).
#[async_trait]
pub trait SessionStore: Send + Sync {
    /// Reads the session, `None` when there is none.
    async fn find_session(&self, device: DeviceKey) -> Result<Option<Bytes>, StoreError>;

    /// Writes sessions; `None` removes one. At most 64 KiB each. Those of identities that are
    /// gone are dropped.
    async fn save_sessions(
        &self,
        sessions: Vec<(DeviceKey, Option<Bytes>)>,
    ) -> Result<(), StoreError>;

    /// Notes the version of desired that the device of each session has been told, for
    /// [`Since::LastTold`](crate::Since::LastTold). It only rises; devices without a session are
    /// passed over, and a session that is removed takes its note with it.
    async fn note_told(&self, told: Vec<(DeviceKey, u64)>) -> Result<(), StoreError>;
}
