//! Durable identities.

use async_trait::async_trait;
use downlink_domain::ErrorCode;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::{Device, DeviceSpec, DeviceSpecError, IfMatch, Place};
use downlink_domain::id::{DeviceId, DeviceKey, GenerationId, HubName, IdentityName};
use downlink_domain::twin::Twin;
use thiserror::Error;

use crate::StoreError;
use crate::registry_write::{RegistryChange, RegistryRules, RegistryWrite, RegistryWritten};

/// Why an identity was not written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum RegistryError {
    /// There is none of that name.
    #[error("{} is not registered", Called(.0))]
    NotFound(IdentityName),
    /// There is one of that name already.
    #[error("{} is registered already", Called(.0))]
    AlreadyExists(IdentityName),
    /// The etag is missing where one is needed, or not the current one.
    #[error("etag mismatch for {}", Called(.0))]
    PreconditionFailed(IdentityName),
    /// A field outside its rules.
    #[error("{0}")]
    Invalid(String),
    /// A scope that is none of an Edge device, or an Edge device's own and not that.
    #[error("the scopes of {} are not those of its parents or its own", Called(.0))]
    Scope(IdentityName),
    /// The identity is named by two writes of one batch.
    #[error("{} is named more than once", Called(.0))]
    NamedTwice(IdentityName),
    /// Modules whose names begin with `$` come and go with their devices (registry.md §3).
    #[error("{} is a system module", Called(.0))]
    SystemModule(IdentityName),
    /// The identity has no symmetric keys that could be exchanged.
    #[error("{} has no symmetric keys", Called(.0))]
    NoKeys(IdentityName),
    /// The device has as many modules as it may have.
    #[error("device {0} has as many modules as a device may have")]
    TooManyModules(DeviceId),
    /// The hub has as many identities as it may have.
    #[error("the hub has {0} identities, as many as it may have")]
    QuotaExceeded(u64),
}

/// An identity as people call it.
struct Called<'a>(&'a IdentityName);

impl std::fmt::Display for Called<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0.module {
            None => write!(f, "device {}", self.0.device),
            Some(module) => write!(f, "module {module} of device {}", self.0.device),
        }
    }
}

impl RegistryError {
    /// The code of the catalogue (registry.md §2.3, §3).
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound(IdentityName { module: None, .. }) => ErrorCode::DeviceNotFound,
            Self::NotFound(_) => ErrorCode::ModuleNotFound,
            Self::AlreadyExists(IdentityName { module: None, .. }) => {
                ErrorCode::DeviceAlreadyExists
            }
            Self::AlreadyExists(_) => ErrorCode::ModuleAlreadyExistsOnDevice,
            Self::PreconditionFailed(_) => ErrorCode::PreconditionFailed,
            Self::Invalid(_) | Self::SystemModule(_) => ErrorCode::ArgumentInvalid,
            Self::Scope(_) => ErrorCode::InvalidDeviceScope,
            Self::NamedTwice(_) => ErrorCode::DeviceDefinedMultipleTimes,
            Self::NoKeys(_) => ErrorCode::InvalidOperation,
            Self::TooManyModules(_) => ErrorCode::TooManyModulesOnDevice,
            Self::QuotaExceeded(_) => ErrorCode::IotHubQuotaExceeded,
        }
    }

    /// The refusal of a spec outside its rules.
    pub fn of_spec(name: &IdentityName, error: DeviceSpecError) -> Self {
        match error {
            DeviceSpecError::Scope => Self::Scope(name.clone()),
            DeviceSpecError::StatusReason
            | DeviceSpecError::Key
            | DeviceSpecError::Thumbprint
            | DeviceSpecError::ManagedBy
            | DeviceSpecError::ParentScopes => Self::Invalid(error.to_string()),
        }
    }
}

/// How many identities there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RegistryCounts {
    /// All devices.
    pub total: u64,
    /// Those of them that may connect.
    pub enabled: u64,
    /// All modules.
    pub modules: u64,
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
    /// Writes identities as [`RegistryPlan`](crate::RegistryPlan) says, at most 1,000 at a time, in one transaction:
    /// what of it is refused is refused alone, by position; an error means that nothing was
    /// written. Creations get their twins, lives that begin or end their lifecycle events; feedback
    /// already written outlives its identity.
    ///
    /// Each identity is named once, and no module of a device that is deleted: the later one is
    /// refused with [`RegistryError::NamedTwice`]. Where the rules have a limit for the hub, the
    /// limit is exact, at the price of a count and of one writer at a time.
    async fn write(
        &self,
        hub: HubName,
        writes: Vec<RegistryWrite>,
        rules: RegistryRules,
        by: Actor,
        now: Timestamp,
    ) -> Result<Vec<Result<RegistryWritten, RegistryError>>, StoreError>;

    /// Creates one identity with an empty twin ([`RegistryChange::Create`]).
    async fn create(
        &self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Device, RegistryError>, StoreError> {
        let twin = Twin::new(now);
        let change = RegistryChange::Create { spec, twin };
        self.write_one(hub, name, change, by, now).await
    }

    /// Replaces one identity ([`RegistryChange::Replace`]).
    async fn replace(
        &self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Device, RegistryError>, StoreError> {
        let change = RegistryChange::Replace { spec, if_match };
        self.write_one(hub, name, change, by, now).await
    }

    /// Deletes one identity ([`RegistryChange::Delete`]); returns what was deleted.
    async fn delete(
        &self,
        hub: HubName,
        name: IdentityName,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Device, RegistryError>, StoreError> {
        let change = RegistryChange::Delete { if_match };
        self.write_one(hub, name, change, by, now).await
    }

    /// Writes one identity under the rules of a hub without limits of its own; returns it as it
    /// is after the write, or as it was before its deletion.
    async fn write_one(
        &self,
        hub: HubName,
        name: IdentityName,
        change: RegistryChange,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Device, RegistryError>, StoreError> {
        let missing = RegistryError::NotFound(name.clone());
        let write = RegistryWrite { name, change };
        let rules = RegistryRules::default();
        let answers = self.write(hub, vec![write], rules, by, now).await?;
        let answer = answers.into_iter().next().unwrap_or(Err(missing.clone()));
        Ok(answer.and_then(|written| written.into_device().ok_or(missing)))
    }

    /// Finds identities by name. By position.
    async fn find(
        &self,
        hub: HubName,
        names: Vec<IdentityName>,
    ) -> Result<Vec<Option<Device>>, StoreError>;

    /// The first `limit` devices in order of their ids.
    async fn list(&self, hub: HubName, limit: u32) -> Result<Vec<Device>, StoreError>;

    /// The modules of the devices named, in order of their names; system modules too.
    async fn list_modules(
        &self,
        hub: HubName,
        devices: Vec<DeviceId>,
    ) -> Result<Vec<Device>, StoreError>;

    /// How many identities there are.
    async fn counts(&self, hub: HubName) -> Result<RegistryCounts, StoreError>;
}
