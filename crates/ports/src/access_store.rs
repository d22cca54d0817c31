//! Durable policies and certificate authorities of hubs.

use async_trait::async_trait;
use downlink_domain::ErrorCode;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::authority::CertificateAuthority;
use downlink_domain::device::IfMatch;
use downlink_domain::id::HubName;
use downlink_domain::policy::Policy;
use thiserror::Error;

use crate::StoreError;

/// Everything by which a hub believes callers that are no devices of it, or are none by their own
/// key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessSnapshot {
    /// Rises with every write of what follows; 0 for a hub that does not exist.
    pub version: u64,
    /// In order of creation.
    pub policies: Vec<Policy>,
    /// In order of creation, proved or not.
    pub authorities: Vec<CertificateAuthority>,
}

/// Why a policy or an authority was not written.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AccessError {
    /// There is none of that name.
    #[error("{0:?} does not exist")]
    NotFound(String),
    /// There is one of that name, or an authority with that certificate, already.
    #[error("{0:?} exists already")]
    AlreadyExists(String),
    /// The etag is not the current one.
    #[error("etag mismatch for {0:?}")]
    PreconditionFailed(String),
    /// The hub has as many as it may.
    #[error("the hub has {0} of them, which is the most")]
    TooMany(usize),
    /// It would leave the hub without a policy that administers it.
    #[error("{0:?} is the last policy that administers the hub")]
    LastAdministrator(String),
}

impl AccessError {
    /// The code of the catalogue.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotFound(_) => ErrorCode::GenericNotFound,
            Self::AlreadyExists(_) => ErrorCode::GenericConflict,
            Self::PreconditionFailed(_) => ErrorCode::PreconditionFailed,
            Self::TooMany(_) => ErrorCode::IotHubQuotaExceeded,
            Self::LastAdministrator(_) => ErrorCode::InvalidOperation,
        }
    }
}

/// Durable policies and certificate authorities.
///
/// Every write raises the version of the hub's snapshot and stores an audit event that names `by`
/// (`events::audit_event`), in one transaction. The store sets etags: 1 for a new record, one more
/// than before for a replaced one; those of the argument count for nothing.
#[async_trait]
pub trait AccessStore: Send + Sync {
    /// The snapshot; `None` when its version is still `known`. Cheap in that case: one row is read.
    async fn access(
        &self,
        hub: HubName,
        known: Option<u64>,
    ) -> Result<Option<AccessSnapshot>, StoreError>;

    /// Creates a policy (`IfMatch::Absent`) or replaces the one of its name.
    async fn put_policy(
        &self,
        hub: HubName,
        policy: Policy,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Policy, AccessError>, StoreError>;

    /// Deletes a policy; the absent condition holds here for any etag.
    async fn delete_policy(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<(), AccessError>, StoreError>;

    /// Registers an authority (`IfMatch::Absent`) or replaces the one of its name, whose
    /// `created_at` stays.
    async fn put_authority(
        &self,
        hub: HubName,
        authority: CertificateAuthority,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<CertificateAuthority, AccessError>, StoreError>;

    /// Removes an authority; the absent condition holds here for any etag.
    async fn delete_authority(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<(), AccessError>, StoreError>;
}
