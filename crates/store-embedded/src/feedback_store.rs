//! The feedback queue.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::{DeviceKey, GenerationId, HubName, LockToken};
use downlink_domain::message::Verdict;
use downlink_domain::message::feedback::{FeedbackBatch, FeedbackRecord, FeedbackStatus};
use downlink_ports::{FeedbackReceive, FeedbackStore, SettleError, StoreError};

use crate::error::store_error;
use crate::fields::Fields;
use crate::store::Store;
use crate::writer::{Scope, Work};

#[async_trait]
impl FeedbackStore for Store {
    async fn receive_feedback(
        &self,
        hub: HubName,
        request: FeedbackReceive,
        now: Timestamp,
    ) -> Result<Option<FeedbackBatch>, StoreError> {
        self.queue.call(ReceiveBatch { hub, request, now }).await
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
        self.queue.call(work).await
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
        self.queue.call(work).await
    }
}

struct ReceiveBatch {
    hub: HubName,
    request: FeedbackReceive,
    now: Timestamp,
}

#[async_trait]
impl Work for ReceiveBatch {
    type Answer = Option<FeedbackBatch>;

    async fn run(self, scope: &mut Scope<'_>) -> Result<Self::Answer, StoreError> {
        let request = self.request;
        let rows = sqlx::query(include_str!("../queries/find_feedback.sql"))
            .bind(self.hub.as_str())
            .bind(self.now.as_millis())
            .bind(i64::from(request.max_delivery_count))
            .bind(i64::from(request.flush_count))
            .fetch_all(&mut *scope.connection)
            .await
            .map_err(store_error)?;
        let mut numbers: Vec<i64> = Vec::with_capacity(rows.len());
        let mut records = Vec::with_capacity(rows.len());
        let mut delivery_count = 0;
        for row in &rows {
            let row = Fields::new(row, "feedback", "record");
            numbers.push(row.get("record")?);
            records.push(record(&row)?);
            delivery_count = delivery_count.max(row.number("delivery_count")?);
        }
        let Some(oldest) = records.first().map(|record| record.at) else {
            return Ok(None);
        };
        let is_full = u32::try_from(records.len()).is_ok_and(|n| n >= request.flush_count);
        if !is_full && self.now < oldest + request.flush_interval {
            return Ok(None);
        }
        sqlx::query(include_str!("../queries/lock_feedback.sql"))
            .bind(self.hub.as_str())
            .bind(&request.token.0[..])
            .bind(request.locked_until.as_millis())
            .bind(serde_json::to_string(&numbers).expect("numbers are always JSON"))
            .execute(&mut *scope.connection)
            .await
            .map_err(store_error)?;
        Ok(Some(FeedbackBatch {
            token: request.token,
            locked_until: request.locked_until,
            enqueued_at: records.iter().map(|r| r.at).max().unwrap_or(oldest),
            delivery_count,
            records,
        }))
    }
}

fn record(row: &Fields<'_>) -> Result<FeedbackRecord, StoreError> {
    Ok(FeedbackRecord {
        hub: row.text("hub")?,
        device_key: DeviceKey(row.get("device_key")?),
        device: row.text("device_id")?,
        generation: GenerationId(row.number("generation")?),
        original_message_id: row.get("message_id")?,
        at: row.instant("at")?,
        status: row.parse("status", FeedbackStatus::parse)?,
    })
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

    async fn run(self, scope: &mut Scope<'_>) -> Result<Self::Answer, StoreError> {
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
            .execute(&mut *scope.connection)
            .await
            .map_err(store_error)?
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

    async fn run(self, scope: &mut Scope<'_>) -> Result<u64, StoreError> {
        let dropped = sqlx::query(include_str!("../queries/sweep_feedback.sql"))
            .bind(self.now.as_millis())
            .bind(i64::from(self.max_delivery_count))
            .bind(i64::from(self.limit))
            .execute(&mut *scope.connection)
            .await
            .map_err(store_error)?;
        Ok(dropped.rows_affected())
    }
}
