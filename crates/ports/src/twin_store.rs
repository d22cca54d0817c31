//! Durable twins.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::DeviceKey;
use downlink_domain::twin::{Twin, TwinChange, TwinError, TwinRules, TwinWritten};

use crate::{DesiredChanges, Since, StoreError};

/// Durable twins, one per identity.
#[async_trait]
pub trait TwinStore: Send + Sync {
    /// Reads twins. By position; `None` where the identity is gone.
    async fn find_twins(&self, devices: Vec<DeviceKey>) -> Result<Vec<Option<Twin>>, StoreError>;

    /// Reads the versions of twins alone, for those who watch many. By position; `None` where the
    /// identity is gone.
    ///
    /// A store that can read less than whole twins does so.
    async fn find_twin_versions(
        &self,
        devices: Vec<DeviceKey>,
    ) -> Result<Vec<Option<u64>>, StoreError> {
        let twins = self.find_twins(devices).await?;
        let version = |twin: Option<Twin>| twin.map(|twin| twin.version);
        Ok(twins.into_iter().map(version).collect())
    }

    /// Reads what is kept of the changes of desired, and where they stand. By position; `None`
    /// where the identity is gone. Version and changes are of one moment.
    async fn find_changes(
        &self,
        wanted: Vec<(DeviceKey, Since)>,
    ) -> Result<Vec<Option<DesiredChanges>>, StoreError>;

    /// Applies each change by `downlink_domain::twin::apply` as one read-modify-write, with its
    /// change event in the same transaction; changes of one twin happen in the order given. What
    /// devices are to be told of desired is kept with it, as many changes as `rules` say.
    /// By position; `None` where the identity is gone.
    async fn update_twins(
        &self,
        changes: Vec<(DeviceKey, TwinChange)>,
        rules: TwinRules,
        now: Timestamp,
    ) -> Result<Vec<Option<Result<TwinWritten, TwinError>>>, StoreError>;
}
