//! How gateways learn what each of them wants of a hub's rates.

use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::id::{GatewayId, HubName};
use downlink_domain::limits::HubOperation;

use crate::StoreError;

/// Most gateways of a hub of which an exchange tells; those beyond it count for nothing.
pub const MAX_SHARERS: usize = 1_024;

/// How many operations of each class a gateway wants to do in a second, in thousandths, at the places of
/// [`HubOperation::ALL`].
pub type Wants = [u32; HubOperation::COUNT];

/// The wants of all gateways of a hub. May be lost: the next words of the gateways bring it back.
///
/// No gateway asks anybody before an operation: it exchanges wants a few times a second, works out its own part
/// ([`share`](downlink_domain::limits::share)) and lives by that until the next time.
#[async_trait]
pub trait RateShares: Send + Sync {
    /// Says what `gateway` wants of `hub`, which counts for `ttl` (at least a second), and answers what all gateways
    /// want whose words still count, the caller's own among them, each once, in any order; at most [`MAX_SHARERS`].
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: the word may have been taken.
    async fn exchange(
        &self,
        hub: &HubName,
        gateway: &GatewayId,
        wants: Wants,
        ttl: Duration,
    ) -> Result<Vec<(GatewayId, Wants)>, StoreError>;

    /// Takes a gateway's word back, so that the others share its part at once.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: it may still count, for its time to live.
    async fn leave(&self, hub: &HubName, gateway: &GatewayId) -> Result<(), StoreError>;
}
