//! The feedback queue of a hub: waiting for batches and settling them (c2d.md §6.3).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use downlink_domain::Timestamp;
use downlink_domain::id::{HubName, LockToken};
use downlink_domain::message::Verdict;
use downlink_domain::message::feedback::FeedbackBatch;
use downlink_ports::{FeedbackReceive, PeerError, SettleError};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::error::SERVICE;
use crate::service::Shared;

/// Longest wait of one receive; a receiver that wants to wait on calls again.
const MAX_WAIT: Duration = Duration::from_mins(5);

/// Shortest time between two looks of one receiver: outcomes come by the thousand, and each look
/// asks the store.
const LOOK_SPACING: Duration = Duration::from_millis(50);

/// Receivers that wait for a batch.
pub(crate) struct FeedbackWaiters {
    arrived: Notify,
    places: Semaphore,
    /// Outcomes since waiters were last told, each perhaps a record.
    untold: AtomicUsize,
}

impl FeedbackWaiters {
    pub(crate) fn new(max_waiting: usize) -> Self {
        Self {
            arrived: Notify::new(),
            places: Semaphore::new(max_waiting),
            untold: AtomicUsize::new(0),
        }
    }

    /// Takes note of outcomes that may have written records, and tells the waiters once those may
    /// fill a batch. A batch that is ready by its age is found at the next look.
    pub(crate) fn on_outcomes(&self, count: usize, flush_count: u32) {
        if count == 0 {
            return;
        }
        let before = self.untold.fetch_add(count, Ordering::Relaxed);
        if before.saturating_add(count) >= flush_count as usize {
            self.untold.store(0, Ordering::Relaxed);
            self.arrived.notify_waiters();
        }
    }
}

/// Waits up to `wait` for the next batch; `None` when none became ready or the service drains.
pub(crate) async fn receive(
    shared: &Shared,
    hub: HubName,
    wait: Duration,
) -> Result<Option<FeedbackBatch>, PeerError> {
    let clock = &shared.deps.clock;
    let deadline = clock.now() + wait.min(MAX_WAIT);
    let Ok(_place) = shared.feedback.places.try_acquire() else {
        return Err(PeerError::Overloaded { service: SERVICE });
    };
    loop {
        // Before the look: what arrives between look and wait is not missed.
        let arrived = shared.feedback.arrived.notified();
        tokio::pin!(arrived);
        arrived.as_mut().enable();
        let now = clock.now();
        let next_look = Instant::now() + LOOK_SPACING;
        if let Some(batch) = look(shared, &hub, now).await? {
            return Ok(Some(batch));
        }
        if now >= deadline {
            return Ok(None);
        }
        let next = deadline.min(now + shared.options.feedback.poll_interval);
        tokio::select! {
            () = shared.drain.cancelled() => return Ok(None),
            () = arrived => sleep_until(next_look).await,
            () = clock.sleep_until(next) => {}
        }
    }
}

async fn look(
    shared: &Shared,
    hub: &HubName,
    now: Timestamp,
) -> Result<Option<FeedbackBatch>, PeerError> {
    let options = &shared.options.feedback;
    let request = FeedbackReceive {
        token: shared.deps.ids.lock_token(),
        locked_until: now + options.lock_duration,
        flush_count: options.flush_count,
        flush_interval: options.flush_interval,
        max_delivery_count: options.max_delivery_count,
    };
    let store = &shared.deps.feedback;
    let found = store
        .receive_feedback(hub.clone(), request, now)
        .await
        .map_err(|error| shared.store_failed("receive feedback", error))?;
    if let Some(batch) = &found {
        shared.metrics.feedback.batches.increment();
        shared
            .metrics
            .feedback
            .records
            .add(batch.records.len() as u64);
    }
    Ok(found)
}

/// Settles a held batch; one that is given back is offered to the waiters at once.
pub(crate) async fn settle(
    shared: &Shared,
    hub: HubName,
    token: LockToken,
    verdict: Verdict,
) -> Result<Result<(), SettleError>, PeerError> {
    let now = shared.deps.clock.now();
    let settled = shared
        .deps
        .feedback
        .settle_feedback(hub, token, verdict, now)
        .await
        .map_err(|error| shared.store_failed("settle feedback", error))?;
    let is_given_back = !matches!(verdict, Verdict::Complete | Verdict::Reject);
    if settled.is_ok() && is_given_back {
        shared.feedback.arrived.notify_waiters();
    }
    Ok(settled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiters_are_told_when_outcomes_may_fill_a_batch() {
        let waiters = FeedbackWaiters::new(1);
        let arrived = waiters.arrived.notified();
        tokio::pin!(arrived);
        arrived.as_mut().enable();
        waiters.on_outcomes(63, 64);
        assert!(futures::poll!(arrived.as_mut()).is_pending());
        waiters.on_outcomes(1, 64);
        assert!(futures::poll!(arrived.as_mut()).is_ready());
    }
}
