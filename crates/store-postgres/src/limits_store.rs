//! Limits that administrators have stated, as JSON beside their version in the hub's row.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::id::HubName;
use downlink_domain::limits::{LimitOverrides, LimitsChange, LimitsError, LimitsSnapshot};
use downlink_ports::{LimitsStore, StoreError, decide_limits};
use sqlx::postgres::PgRow;

use crate::error::Failure;
use crate::fields::{Fields, stored};
use crate::outbox;
use crate::retry::{Extent, Repeat, Work};
use crate::session::Session;
use crate::store::PostgresStore;

#[async_trait]
impl LimitsStore for PostgresStore {
    async fn limits(
        &self,
        hub: HubName,
        known: Option<u64>,
    ) -> Result<Option<LimitsSnapshot>, StoreError> {
        self.run(&ReadLimits { hub, known }).await
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
        self.run(&order).await
    }
}

struct ReadLimits {
    hub: HubName,
    known: Option<u64>,
}

#[async_trait]
impl Work for ReadLimits {
    type Answer = Option<LimitsSnapshot>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let row = sqlx::query(include_str!("../queries/find_limits.sql"))
            .bind(self.hub.as_str())
            .bind(self.known.map(stored))
            .fetch_optional(connection)
            .await?;
        let snapshot = match row {
            Some(row) => snapshot(&row)?,
            None => LimitsSnapshot::default(),
        };
        Ok((self.known != Some(snapshot.version)).then_some(snapshot))
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
    const EXTENT: Extent = Extent::Transaction;
    // The first time changes the version that the condition names.
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let row = sqlx::query(include_str!("../queries/lock_limits.sql"))
            .bind(self.hub.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        let Some(row) = row else {
            return Ok(Err(LimitsError::NoHub));
        };
        let (hub, change) = (&self.hub, self.change.clone());
        let current = snapshot(&row)?;
        let decided = decide_limits(hub, &current, change, &self.if_match, &self.by, self.now);
        let (changed, event) = match decided {
            Ok(decided) => decided,
            Err(error) => return Ok(Err(error)),
        };
        sqlx::query(include_str!("../queries/update_limits.sql"))
            .bind(hub.as_str())
            .bind(stored(changed.version))
            .bind(changed.overrides.to_json().to_string())
            .execute(&mut *connection)
            .await?;
        outbox::insert(connection, &[event]).await?;
        Ok(Ok(changed))
    }
}

fn snapshot(row: &PgRow) -> Result<LimitsSnapshot, StoreError> {
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
