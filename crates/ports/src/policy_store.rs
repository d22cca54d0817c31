//! Durable hubs.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::HubName;
use downlink_domain::policy::Policy;

use crate::StoreError;

/// Durable hubs; what they have is an [`AccessStore`](crate::AccessStore)'s.
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
}
