//! Durable twins.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::DeviceKey;
use downlink_domain::twin::{Twin, TwinChange, TwinError, TwinRules, TwinWritten};

use crate::StoreError;

/// Durable twins, one per identity.
#[async_trait]
pub trait TwinStore: Send + Sync {
    /// Reads twins. By position; `None` where the identity is gone.
    async fn find_twins(&self, devices: Vec<DeviceKey>) -> Result<Vec<Option<Twin>>, StoreError>;

    /// Applies each change by `downlink_domain::twin::apply` as one read-modify-write, with its
    /// change event in the same transaction; changes of one twin happen in the order given.
    /// By position; `None` where the identity is gone.
    async fn update_twins(
        &self,
        changes: Vec<(DeviceKey, TwinChange)>,
        rules: TwinRules,
        now: Timestamp,
    ) -> Result<Vec<Option<Result<TwinWritten, TwinError>>>, StoreError>;
}
