//! The feedback queue.
//!
//! A receive takes records that no other receiver is at ([`SKIP LOCKED`]), so competing receivers
//! do not wait for each other. None of its calls is made again when nobody knows whether it was
//! made: a receive would hand out a second batch under the token of the first, a settlement would
//! answer that the hold was lost.
//!
//! [`SKIP LOCKED`]: https://www.postgresql.org/docs/current/sql-select.html

use crate::session::Session;
use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::{DeviceKey, GenerationId, HubName, LockToken};
use downlink_domain::message::Verdict;
use downlink_domain::message::feedback::{FeedbackBatch, FeedbackRecord, FeedbackStatus};
use downlink_ports::{FeedbackReceive, FeedbackStore, SettleError, StoreError};
use sqlx::postgres::PgRow;
use tracing::error;

use crate::error::Failure;
use crate::fields::Fields;
use crate::retry::{Extent, Repeat, Work};
use crate::store::PostgresStore;

#[async_trait]
impl FeedbackStore for PostgresStore {
    async fn receive_feedback(
        &self,
        hub: HubName,
        request: FeedbackReceive,
        now: Timestamp,
    ) -> Result<Option<FeedbackBatch>, StoreError> {
        let rows = self.run(&ReceiveBatch { hub, request, now }).await?;
        Ok(batch(&rows, &request))
    }

    async fn settle_feedback(
        &self,
        hub: HubName,
        token: LockToken,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<Result<(), SettleError>, StoreError> {
        let work = SettleBatch {
            hub,
            token,
            verdict,
            now,
        };
        self.run(&work).await
    }

    async fn sweep_feedback(
        &self,
        limit: u32,
        max_delivery_count: u32,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let work = SweepRecords {
            limit,
            max_delivery_count,
            now,
        };
        self.run(&work).await
    }
}

struct ReceiveBatch {
    hub: HubName,
    request: FeedbackReceive,
    now: Timestamp,
}

#[async_trait]
impl Work for ReceiveBatch {
    type Answer = Vec<PgRow>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Vec<PgRow>, Failure> {
        let request = self.request;
        let ready_since = self.now - request.flush_interval;
        let rows = sqlx::query(include_str!("../queries/receive_feedback.sql"))
            .bind(self.hub.as_str())
            .bind(self.now.as_millis())
            .bind(i64::from(request.max_delivery_count))
            .bind(i64::from(request.flush_count))
            .bind(ready_since.as_millis())
            .bind(&request.token.0[..])
            .bind(request.locked_until.as_millis())
            .fetch_all(connection)
            .await?;
        Ok(rows)
    }
}

/// The batch of the rows that are held now, `None` when there are none. A record that cannot be
/// read is left out; it is settled with the others.
fn batch(rows: &[PgRow], request: &FeedbackReceive) -> Option<FeedbackBatch> {
    let mut records = Vec::with_capacity(rows.len());
    let mut delivery_count = 0;
    for row in rows {
        let row = Fields::new(row, "feedback", "record");
        match record(&row) {
            Ok((number, count, record)) => {
                records.push((number, record));
                delivery_count = delivery_count.max(count);
            }
            Err(error) => error!(%error, "a feedback record cannot be handed out"),
        }
    }
    records.sort_unstable_by_key(|(number, _)| *number);
    let records: Vec<_> = records.into_iter().map(|(_, record)| record).collect();
    Some(FeedbackBatch {
        token: request.token,
        locked_until: request.locked_until,
        enqueued_at: records.iter().map(|record| record.at).max()?,
        delivery_count,
        records,
    })
}

/// A record with its number and how often it was handed out before.
fn record(row: &Fields<'_>) -> Result<(i64, u32, FeedbackRecord), StoreError> {
    let count: i64 = row.number("delivery_count")?;
    let earlier = u32::try_from(count - 1).map_err(|_| row.corrupt("delivery_count"))?;
    let record = FeedbackRecord {
        hub: row.text("hub")?,
        device_key: DeviceKey(row.get("device_key")?),
        device: row.text("device_id")?,
        generation: GenerationId(row.number("generation")?),
        original_message_id: row.get("message_id")?,
        at: row.instant("at")?,
        status: row.parse("status", FeedbackStatus::parse)?,
    };
    Ok((row.get("record")?, earlier, record))
}

struct SettleBatch {
    hub: HubName,
    token: LockToken,
    verdict: Verdict,
    now: Timestamp,
}

#[async_trait]
impl Work for SettleBatch {
    type Answer = Result<(), SettleError>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let statement = match self.verdict {
            Verdict::Complete | Verdict::Reject => include_str!("../queries/end_feedback.sql"),
            Verdict::Abandon | Verdict::ReleaseDelivered => {
                include_str!("../queries/release_feedback.sql")
            }
            Verdict::ReleaseUndelivered => include_str!("../queries/undo_feedback.sql"),
        };
        let settled = sqlx::query(statement)
            .bind(self.hub.as_str())
            .bind(&self.token.0[..])
            .bind(self.now.as_millis())
            .execute(connection)
            .await?
            .rows_affected();
        Ok(if settled == 0 {
            Err(SettleError::LockLost)
        } else {
            Ok(())
        })
    }
}

struct SweepRecords {
    limit: u32,
    max_delivery_count: u32,
    now: Timestamp,
}

#[async_trait]
impl Work for SweepRecords {
    type Answer = u64;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<u64, Failure> {
        let dropped = sqlx::query(include_str!("../queries/sweep_feedback.sql"))
            .bind(self.now.as_millis())
            .bind(i64::from(self.max_delivery_count))
            .bind(i64::from(self.limit))
            .execute(connection)
            .await?;
        Ok(dropped.rows_affected())
    }
}
