//! A queue emptied.

use crate::session::Session;
use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::{DeviceId, HubName};
use downlink_domain::message::QueueRules;
use downlink_domain::message::transition;
use downlink_ports::{PurgeOutcome, StoreError};

use super::depths::Name;
use super::ending::Endings;
use super::standing;
use crate::error::Failure;
use crate::retry::{Extent, Repeat, Work};
use crate::store::PostgresStore;

/// Reports that are written at a time, which bounds what a deep queue takes of memory.
const REPORTS: u16 = 1_000;

/// Empties the queue of a device; `None` when there is no such device.
pub(super) async fn purge(
    store: &PostgresStore,
    hub: HubName,
    device: DeviceId,
    rules: QueueRules,
    now: Timestamp,
) -> Result<Option<PurgeOutcome>, StoreError> {
    let name = (hub, device);
    let purge = Purge {
        name: &name,
        rules,
        now,
    };
    let purged = store.run(&purge).await;
    store.depths.forget(&name);
    purged
}

struct Purge<'a> {
    name: &'a Name,
    rules: QueueRules,
    now: Timestamp,
}

#[async_trait]
impl Work for Purge<'_> {
    type Answer = Option<PurgeOutcome>;
    const EXTENT: Extent = Extent::Transaction;
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let key: Option<i64> = sqlx::query_scalar(
            "SELECT device_key FROM identities
             WHERE hub = $1 AND device_id = $2 AND module_id = '' FOR KEY SHARE",
        )
        .bind(self.name.0.as_str())
        .bind(self.name.1.as_str())
        .fetch_optional(&mut *connection)
        .await?;
        let Some(key) = key else {
            return Ok(None);
        };
        // What comes in while this goes on stays.
        let last: Option<i64> = sqlx::query_scalar(
            "SELECT sequence FROM messages WHERE device_key = $1
             ORDER BY device_key DESC, sequence DESC LIMIT 1",
        )
        .bind(key)
        .fetch_optional(&mut *connection)
        .await?;
        let Some(last) = last else {
            return Ok(Some(PurgeOutcome { removed: 0 }));
        };
        let unreported = sqlx::query(include_str!("../../queries/purge_messages.sql"))
            .bind(key)
            .bind(self.now.as_millis())
            .bind(last)
            .execute(&mut *connection)
            .await?
            .rows_affected();
        let mut removed = unreported;
        loop {
            let reported = self.end_reported(connection, key, last).await?;
            removed += reported as u64;
            if reported < usize::from(REPORTS) {
                return Ok(Some(PurgeOutcome { removed }));
            }
        }
    }
}

impl Purge<'_> {
    /// Ends the next messages whose senders hear of it; how many there were.
    async fn end_reported(
        &self,
        connection: &mut Session<'_>,
        key: i64,
        last: i64,
    ) -> Result<usize, Failure> {
        let rows = sqlx::query(include_str!("../../queries/find_reported_of_queue.sql"))
            .bind(key)
            .bind(self.now.as_millis())
            .bind(last)
            .bind(i64::from(REPORTS))
            .fetch_all(&mut *connection)
            .await?;
        let mut endings = Endings::at(self.now, self.rules.feedback_ttl);
        for row in &rows {
            let message = standing::stored(row)?;
            if let Some(decision) = transition::purge(message.standing, self.now) {
                endings.add(message, decision.feedback);
            }
        }
        if endings.is_empty() {
            return Ok(0);
        }
        Ok(endings.in_lock_order().write(connection).await?.len())
    }
}
