//! Durable hubs and their shared access policies.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::HubName;
use downlink_domain::policy::Policy;

use crate::StoreError;

/// Durable hubs and their policies.
#[async_trait]
pub trait PolicyStore: Send + Sync {
    /// Names of all hubs, oldest first.
    async fn hubs(&self) -> Result<Vec<HubName>, StoreError>;

    /// Creates the hub with `policies` unless it exists; an existing one is left as it is.
    async fn ensure_hub(
        &self,
        hub: HubName,
        policies: Vec<Policy>,
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// The policies of a hub; empty when there is no such hub.
    async fn policies(&self, hub: HubName) -> Result<Vec<Policy>, StoreError>;
}
