//! A queue emptied.

use crate::session::Session;
use async_trait::async_trait;
use downlink_domain::id::DeviceKey;
use downlink_domain::message::QueueRules;
use downlink_domain::message::transition;
use downlink_ports::events::{AuditRecord, audit_event};
use downlink_ports::{PurgeOrder, PurgeOutcome, StoreError};

use super::ending::Endings;
use super::standing;
use crate::error::Failure;
use crate::outbox;
use crate::retry::{Extent, Repeat, Work};
use crate::store::PostgresStore;

/// Reports that are written at a time, which bounds what a deep queue takes of memory.
const REPORTS: u16 = 1_000;

/// Empties the queue of a device; `None` when there is no such device.
pub(super) async fn purge(
    store: &PostgresStore,
    order: &PurgeOrder,
    rules: QueueRules,
) -> Result<Option<PurgeOutcome>, StoreError> {
    let purged = store.run(&Purge { order, rules }).await;
    let name = (order.hub.clone(), order.device.clone());
    store.depths.forget(&name);
    purged
}

struct Purge<'a> {
    order: &'a PurgeOrder,
    rules: QueueRules,
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
        .bind(self.order.hub.as_str())
        .bind(self.order.device.as_str())
        .fetch_optional(&mut *connection)
        .await?;
        let Some(key) = key else {
            return Ok(None);
        };
        let removed = self.empty(connection, key).await?;
        let record = AuditRecord::of_purge(self.order, DeviceKey(key), removed);
        outbox::insert(connection, &[audit_event(&record)]).await?;
        Ok(Some(PurgeOutcome { removed }))
    }
}

impl Purge<'_> {
    /// Ends everything that waits; how much there was.
    async fn empty(&self, connection: &mut Session<'_>, key: i64) -> Result<u64, Failure> {
        // What comes in while this goes on stays.
        let last: Option<i64> = sqlx::query_scalar(
            "SELECT sequence FROM messages WHERE device_key = $1
             ORDER BY device_key DESC, sequence DESC LIMIT 1",
        )
        .bind(key)
        .fetch_optional(&mut *connection)
        .await?;
        let Some(last) = last else {
            return Ok(0);
        };
        let unreported = sqlx::query(include_str!("../../queries/purge_messages.sql"))
            .bind(key)
            .bind(self.order.at.as_millis())
            .bind(last)
            .execute(&mut *connection)
            .await?
            .rows_affected();
        let mut removed = unreported;
        loop {
            let reported = self.end_reported(connection, key, last).await?;
            removed += reported as u64;
            if reported < usize::from(REPORTS) {
                return Ok(removed);
            }
        }
    }

    /// Ends the next messages whose senders hear of it; how many there were.
    async fn end_reported(
        &self,
        connection: &mut Session<'_>,
        key: i64,
        last: i64,
    ) -> Result<usize, Failure> {
        let rows = sqlx::query(include_str!("../../queries/find_reported_of_queue.sql"))
            .bind(key)
            .bind(self.order.at.as_millis())
            .bind(last)
            .bind(i64::from(REPORTS))
            .fetch_all(&mut *connection)
            .await?;
        let mut endings = Endings::at(self.order.at, self.rules.feedback_ttl);
        for row in &rows {
            let message = standing::stored(row)?;
            if let Some(decision) = transition::purge(message.standing, self.order.at) {
                endings.add(message, decision.feedback);
            }
        }
        if endings.is_empty() {
            return Ok(0);
        }
        Ok(endings.in_lock_order().write(connection).await?.len())
    }
}
