//! Durable identities.

use async_trait::async_trait;
use downlink_domain::ErrorCode;
use downlink_domain::Timestamp;
use downlink_domain::device::{Device, DeviceSpec, IfMatch};
use downlink_domain::id::{HubName, IdentityName};
use thiserror::Error;

use crate::{ConnectionChange, StoreError};

/// Why an identity was not written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RegistryError {
    /// There is none of that name.
    #[error("device {0} is not registered")]
    NotFound(IdentityName),
    /// There is one of that name already.
    #[error("a device with id {0} is registered already")]
    AlreadyExists(IdentityName),
    /// The etag is missing where one is needed, or not the current one.
    #[error("etag mismatch for device {0}")]
    PreconditionFailed(IdentityName),
    /// A field outside its rules.
    #[error("{0}")]
    Invalid(String),
}

impl RegistryError {
    /// The code of the catalogue (registry.md §2.3).
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound(_) => ErrorCode::DeviceNotFound,
            Self::AlreadyExists(_) => ErrorCode::DeviceAlreadyExists,
            Self::PreconditionFailed(_) => ErrorCode::PreconditionFailed,
            Self::Invalid(_) => ErrorCode::ArgumentInvalid,
        }
    }
}

/// How many identities of devices there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegistryCounts {
    /// All.
    pub total: u64,
    /// Those that may connect.
    pub enabled: u64,
}

/// Durable identities of devices and modules.
#[async_trait]
pub trait DeviceRegistry: Send + Sync {
    /// Creates the identity, its twin (`Twin::new`) and its lifecycle event in one transaction,
    /// under a key that was never used before.
    async fn create(
        &self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        now: Timestamp,
    ) -> Result<Result<Device, RegistryError>, StoreError>;

    /// Replaces the identity when `if_match` holds; the etag rises by one.
    /// `IfMatch::Absent` never holds here: it asks for [`Self::create`].
    async fn replace(
        &self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        if_match: IfMatch,
        now: Timestamp,
    ) -> Result<Result<Device, RegistryError>, StoreError>;

    /// Deletes the identity with its twin, session and messages and writes its lifecycle event,
    /// in one transaction; feedback already written stays. Returns what was deleted.
    async fn delete(
        &self,
        hub: HubName,
        name: IdentityName,
        if_match: IfMatch,
        now: Timestamp,
    ) -> Result<Result<Device, RegistryError>, StoreError>;

    /// Finds identities by name. By position.
    async fn find(
        &self,
        hub: HubName,
        names: Vec<IdentityName>,
    ) -> Result<Vec<Option<Device>>, StoreError>;

    /// The first `limit` devices in order of their ids.
    async fn list(&self, hub: HubName, limit: u32) -> Result<Vec<Device>, StoreError>;

    /// How many devices there are.
    async fn counts(&self, hub: HubName) -> Result<RegistryCounts, StoreError>;

    /// Notes connects and disconnects: state time, last activity, and one event each.
    async fn record_connections(&self, changes: Vec<ConnectionChange>) -> Result<(), StoreError>;
}
