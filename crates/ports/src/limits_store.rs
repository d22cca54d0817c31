//! Durable limits of hubs, as administrators state them.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::event::Event;
use downlink_domain::id::HubName;
use downlink_domain::limits::{
    Limit, LimitKey, LimitOverrides, LimitsChange, LimitsError, LimitsSnapshot, Replaces,
};

use crate::events::{AuditRecord, audit_event};
use crate::{PeerError, StoreError};

/// Durable limits.
#[async_trait]
pub trait LimitsStore: Send + Sync {
    /// What is stated of a hub; `None` when its version is still `known`. A hub of which nothing was ever stated, or
    /// that does not exist, has version 0.
    async fn limits(
        &self,
        hub: HubName,
        known: Option<u64>,
    ) -> Result<Option<LimitsSnapshot>, StoreError>;

    /// Changes what is stated, under the next version, with an audit event that names `by`, in one transaction
    /// ([`decide_limits`]). The absent condition holds for any version.
    async fn change_limits(
        &self,
        hub: HubName,
        change: LimitsChange,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<LimitsSnapshot, LimitsError>, StoreError>;
}

/// The limits of hubs, as the twin service serves them.
#[async_trait]
pub trait LimitsApi: Send + Sync {
    /// What is stated of a hub; `None` when its version is still `known`.
    async fn limits(
        &self,
        hub: HubName,
        known: Option<u64>,
    ) -> Result<Option<LimitsSnapshot>, PeerError>;

    /// Changes what is stated and answers all that is stated then.
    async fn change_limits(
        &self,
        hub: HubName,
        change: LimitsChange,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<LimitsSnapshot, PeerError>;
}

/// Most entries of a change that its audit event tells of.
const MAX_TOLD: usize = 24;

/// What a change makes of `current`, which the store holds locked, and the event to store with it.
///
/// # Errors
/// [`LimitsError`]: nothing changes.
pub fn decide_limits(
    hub: &HubName,
    current: &LimitsSnapshot,
    change: LimitsChange,
    if_match: &IfMatch,
    by: &Actor,
    now: Timestamp,
) -> Result<(LimitsSnapshot, Event), LimitsError> {
    let is_met = *if_match == IfMatch::Absent || if_match.names(&current.version.to_string());
    if !is_met {
        return Err(LimitsError::PreconditionFailed);
    }
    let version = current.version + 1;
    let target = match &change.replaces {
        Replaces::Device(device) => format!("limits/devices/{}", device.as_str()),
        Replaces::Nothing | Replaces::General => "limits".to_owned(),
    };
    let stated: Vec<String> = change.entries.iter().take(MAX_TOLD).map(told).collect();
    let overrides: LimitOverrides = current.overrides.changed_by(change)?;
    let record = AuditRecord::of_limits(hub, version, by, now);
    let event = audit_event(&AuditRecord {
        target,
        detail: vec![("stated", stated.join(", "))],
        ..record
    });
    Ok((LimitsSnapshot { version, overrides }, event))
}

fn told((key, limit): &(LimitKey, Option<Limit>)) -> String {
    let (of, name) = match key {
        LimitKey::Hub(operation) => ("hub", operation.name()),
        LimitKey::EachDevice(operation) => ("device", operation.name()),
        LimitKey::Device(_, operation) => ("this device", operation.name()),
    };
    match limit {
        Some(limit) => format!("{of} {name} {limit}"),
        None => format!("{of} {name} as configured"),
    }
}
