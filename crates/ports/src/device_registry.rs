//! Durable identities.

use async_trait::async_trait;
use downlink_domain::ErrorCode;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::{Device, DeviceSpec, IfMatch, Place};
use downlink_domain::id::{DeviceKey, GenerationId, HubName, IdentityName};
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

/// The identity that every store makes of a first write under a fresh `key`.
///
/// Generation and etag follow from `now` and `key`, so that those of another life of the same
/// name never match: the generation has the form of .NET ticks, and each life has about a million
/// etags of its own.
pub fn registered(
    key: DeviceKey,
    hub: HubName,
    name: IdentityName,
    spec: DeviceSpec,
    now: Timestamp,
) -> Device {
    /// 100 ns in a millisecond.
    const TICKS: i64 = 10_000;
    let ticks = (now.as_millis() - Timestamp::UNSET.as_millis()).saturating_mul(TICKS);
    let generation = ticks.saturating_add(key.0.rem_euclid(TICKS));
    let generation = GenerationId(u64::try_from(generation).unwrap_or(0));
    let place = Place::of(&spec, &name, generation);
    Device {
        key,
        hub,
        generation,
        etag: (u64::try_from(key.0).unwrap_or(0) << 20) + 1,
        status: spec.status,
        status_reason: spec.status_reason,
        status_updated_at: Timestamp::UNSET,
        authentication: spec.authentication,
        is_edge: spec.is_edge,
        connection_state_updated_at: Timestamp::UNSET,
        last_activity_at: Timestamp::UNSET,
        is_connected: false,
        model_id: String::new(),
        managed_by: spec.managed_by.filter(|_| name.module.is_some()),
        device_scope: place.device_scope,
        parent_scopes: place.parent_scopes,
        name,
    }
}

/// Durable identities of devices and modules.
///
/// Every write of an identity stores an audit event that names `by` (`AuditRecord::of_identity`),
/// in its own transaction; what is refused stores none.
#[expect(
    clippy::too_many_arguments,
    reason = "whose, which, what, on what condition, by whom and when: no two of a kind"
)]
#[async_trait]
pub trait DeviceRegistry: Send + Sync {
    /// Creates the identity (as [`registered`] makes it), its twin (`Twin::new`) and its lifecycle
    /// event in one transaction, under a key that was never used before. A module of a device
    /// that does not exist is refused with [`RegistryError::NotFound`] naming the device.
    async fn create(
        &self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Device, RegistryError>, StoreError>;

    /// Replaces the identity when `if_match` holds, by `Device::rewritten`; the etag rises by one.
    /// `IfMatch::Absent` never holds here: it asks for [`Self::create`].
    async fn replace(
        &self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Device, RegistryError>, StoreError>;

    /// Deletes the identity with its twin, session and messages, a device with its modules too,
    /// and writes a lifecycle event for each identity, in one transaction; feedback already
    /// written stays. Returns what was deleted.
    async fn delete(
        &self,
        hub: HubName,
        name: IdentityName,
        if_match: IfMatch,
        by: Actor,
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

    /// Notes connects and disconnects: state time and last activity, which only move forward, and
    /// one event each, for identities that are gone too.
    async fn record_connections(&self, changes: Vec<ConnectionChange>) -> Result<(), StoreError>;
}
