//! Whom a job is for.

use std::sync::Arc;

use async_trait::async_trait;
use downlink_domain::id::{DeviceKey, HubName};
use downlink_ports::{
    Clock, FoundTargets, Needs, Scan, ScanRow, StoreError, TwinQueries, TwinQueryError,
};
use downlink_query::Condition;
use thiserror::Error;

/// Identities that are looked up at once.
const PAGE: u32 = 1000;

/// Why identities were not found.
#[derive(Debug, Error)]
pub(crate) enum TargetError {
    /// The condition cannot be evaluated, now or later.
    #[error("{0}")]
    Invalid(String),
    /// The store could not do its part; it may the next time.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Finds the identities for which a condition holds.
#[async_trait]
pub(crate) trait Targets: Send + Sync {
    /// The next page of them, after `after` in order of their keys.
    async fn find(
        &self,
        hub: &HubName,
        condition: &str,
        after: Option<DeviceKey>,
    ) -> Result<FoundTargets, TargetError>;
}

/// By the query language, over the store.
pub(crate) struct QueryTargets {
    pub(crate) queries: Arc<dyn TwinQueries>,
    pub(crate) clock: Arc<dyn Clock>,
}

#[async_trait]
impl Targets for QueryTargets {
    async fn find(
        &self,
        hub: &HubName,
        condition: &str,
        after: Option<DeviceKey>,
    ) -> Result<FoundTargets, TargetError> {
        let condition = read(condition)?;
        let plan = condition.plan();
        let scan = Scan {
            hub: hub.clone(),
            source: condition.source(),
            filter: plan.filter,
            after,
            limit: PAGE,
            needs: if plan.is_exact {
                Needs::default()
            } else {
                condition.needs()
            },
            now: self.clock.now(),
        };
        let page = self.queries.scan(scan).await.map_err(refused)?;
        let matches = |row: &ScanRow| plan.is_exact || condition.matches(row);
        let rows = page.rows.into_iter().filter(matches);
        Ok(FoundTargets {
            targets: rows.map(|row| (row.device.key, row.device.name)).collect(),
            next: page.next,
        })
    }
}

/// Reads a condition; none at all is not taken for all devices, which `*` stands for.
fn read(text: &str) -> Result<Condition, TargetError> {
    if text.trim().is_empty() {
        let text = "the queryCondition is empty; * stands for all devices";
        return Err(TargetError::Invalid(text.to_owned()));
    }
    Condition::parse(text).map_err(|error| TargetError::Invalid(error.to_string()))
}

fn refused(error: TwinQueryError) -> TargetError {
    match error {
        TwinQueryError::TooSlow => TargetError::Invalid(error.to_string()),
        TwinQueryError::Store(error) => error.into(),
    }
}
