//! The feedback queue in memory.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::{HubName, LockToken};
use downlink_domain::message::Verdict;
use downlink_domain::message::feedback::FeedbackBatch;
use downlink_ports::{FeedbackReceive, FeedbackStore, SettleError, StoreError};

use super::{MemoryStore, Report};

impl Report {
    fn is_held(&self, now: Timestamp) -> bool {
        self.lock.is_some_and(|(_, until)| now < until)
    }

    fn is_receivable(&self, max_delivery_count: u32, now: Timestamp) -> bool {
        !self.is_held(now) && now < self.expiry && self.delivery_count < max_delivery_count
    }

    fn is_spent(&self, max_delivery_count: u32, now: Timestamp) -> bool {
        self.expiry <= now || (!self.is_held(now) && self.delivery_count >= max_delivery_count)
    }
}

#[async_trait]
impl FeedbackStore for MemoryStore {
    async fn receive_feedback(
        &self,
        hub: HubName,
        request: FeedbackReceive,
        now: Timestamp,
    ) -> Result<Option<FeedbackBatch>, StoreError> {
        let mut state = self.state.lock();
        let most = usize::try_from(request.flush_count).unwrap_or(usize::MAX);
        let mut batch: Vec<&mut Report> = state
            .feedback
            .values_mut()
            .filter(|report| report.record.hub == hub)
            .filter(|report| report.is_receivable(request.max_delivery_count, now))
            .take(most)
            .collect();
        let Some(oldest) = batch.first().map(|report| report.record.at) else {
            return Ok(None);
        };
        if batch.len() < most && now < oldest + request.flush_interval {
            return Ok(None);
        }
        let delivery_count = batch.iter().map(|report| report.delivery_count).max();
        for report in &mut batch {
            report.delivery_count += 1;
            report.lock = Some((request.token, request.locked_until));
        }
        let records: Vec<_> = batch.iter().map(|report| report.record.clone()).collect();
        Ok(Some(FeedbackBatch {
            token: request.token,
            locked_until: request.locked_until,
            enqueued_at: records.iter().map(|record| record.at).max().unwrap_or(now),
            delivery_count: delivery_count.unwrap_or(0),
            records,
        }))
    }

    async fn settle_feedback(
        &self,
        hub: HubName,
        token: LockToken,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<Result<(), SettleError>, StoreError> {
        let mut state = self.state.lock();
        let held: Vec<u64> = state
            .feedback
            .iter()
            .filter(|(_, report)| report.record.hub == hub && now < report.expiry)
            .filter(|(_, report)| report.lock.is_some_and(|(held, _)| held == token))
            .filter(|(_, report)| report.is_held(now))
            .map(|(id, _)| *id)
            .collect();
        if held.is_empty() {
            return Ok(Err(SettleError::LockLost));
        }
        for id in held {
            match verdict {
                Verdict::Complete | Verdict::Reject => {
                    state.feedback.remove(&id);
                }
                Verdict::Abandon | Verdict::ReleaseDelivered | Verdict::ReleaseUndelivered => {
                    if let Some(report) = state.feedback.get_mut(&id) {
                        report.lock = None;
                        let undone = u32::from(verdict == Verdict::ReleaseUndelivered);
                        report.delivery_count -= undone;
                    }
                }
            }
        }
        Ok(Ok(()))
    }

    async fn sweep_feedback(
        &self,
        limit: u32,
        max_delivery_count: u32,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut state = self.state.lock();
        let spent: Vec<u64> = state
            .feedback
            .iter()
            .filter(|(_, report)| report.is_spent(max_delivery_count, now))
            .map(|(id, _)| *id)
            .take(usize::try_from(limit).unwrap_or(usize::MAX))
            .collect();
        let mut dropped = 0;
        for id in spent {
            state.feedback.remove(&id);
            dropped += 1;
        }
        Ok(dropped)
    }
}
