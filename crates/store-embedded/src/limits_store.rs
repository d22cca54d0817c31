//! Limits that administrators have stated, as JSON beside their version in the hub's row.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::id::HubName;
use downlink_domain::limits::{LimitOverrides, LimitsChange, LimitsError, LimitsSnapshot};
use downlink_ports::{LimitsStore, StoreError, decide_limits};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::error::store_error;
use crate::fields::{Fields, stored};
use crate::outbox;
use crate::store::Store;
use crate::writer::{Scope, Work};

#[async_trait]
impl LimitsStore for Store {
    async fn limits(
        &self,
        hub: HubName,
        known: Option<u64>,
    ) -> Result<Option<LimitsSnapshot>, StoreError> {
        let mut reader = self.reader().await?;
        let snapshot = read(&mut reader, &hub, known).await?.unwrap_or_default();
        Ok((known != Some(snapshot.version)).then_some(snapshot))
    }

    async fn change_limits(
        &self,
        hub: HubName,
        change: LimitsChange,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<LimitsSnapshot, LimitsError>, StoreError> {
        let order = ChangeLimits {
            hub,
            change,
            if_match,
            by,
            now,
        };
        self.queue.call(order).await
    }
}

struct ChangeLimits {
    hub: HubName,
    change: LimitsChange,
    if_match: IfMatch,
    by: Actor,
    now: Timestamp,
}

#[async_trait]
impl Work for ChangeLimits {
    type Answer = Result<LimitsSnapshot, LimitsError>;

    async fn run(self, scope: &mut Scope<'_>) -> Result<Self::Answer, StoreError> {
        let Self { hub, change, .. } = self;
        let Some(current) = read(scope.connection, &hub, None).await? else {
            return Ok(Err(LimitsError::NoHub));
        };
        let decided = decide_limits(&hub, &current, change, &self.if_match, &self.by, self.now);
        let (changed, event) = match decided {
            Ok(decided) => decided,
            Err(error) => return Ok(Err(error)),
        };
        sqlx::query(include_str!("../queries/update_limits.sql"))
            .bind(hub.as_str())
            .bind(stored(changed.version))
            .bind(changed.overrides.to_json().to_string())
            .execute(&mut *scope.connection)
            .await
            .map_err(store_error)?;
        outbox::insert(scope, vec![event]).await?;
        Ok(Ok(changed))
    }
}

/// `None` when there is no such hub.
async fn read(
    connection: &mut SqliteConnection,
    hub: &HubName,
    known: Option<u64>,
) -> Result<Option<LimitsSnapshot>, StoreError> {
    let row = sqlx::query(include_str!("../queries/find_limits.sql"))
        .bind(hub.as_str())
        .bind(known.map(stored))
        .fetch_optional(connection)
        .await
        .map_err(store_error)?;
    row.as_ref().map(snapshot).transpose()
}

fn snapshot(row: &SqliteRow) -> Result<LimitsSnapshot, StoreError> {
    let row = Fields::new(row, "hubs", "limits_version");
    Ok(LimitsSnapshot {
        version: row.number("limits_version")?,
        overrides: row.parse("limits", |text: Option<&str>| {
            let Some(text) = text else {
                return Some(LimitOverrides::default());
            };
            let json = serde_json::from_str(text).ok()?;
            LimitOverrides::from_json(&json).ok().flatten()
        })?,
    })
}
