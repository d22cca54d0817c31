//! The sweeper: makes visible what time has done to messages and feedback.
//!
//! Correctness never waits for it: an expired lock or message reads as expired. It writes the
//! reports, frees the rows and wakes the devices whose messages came back.

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::Timestamp;
use downlink_ports::Swept;
use tracing::{debug, warn};

use crate::service::Shared;

/// Sweeps at jittered ticks, and when asked to, until the service drains.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        let next = shared.deps.clock.now() + jittered(&shared, shared.options.sweep.interval);
        tokio::select! {
            () = shared.drain.cancelled() => return,
            () = shared.sweep_now.notified() => {}
            () = shared.deps.clock.sleep_until(next) => {}
        }
        let now = shared.deps.clock.now();
        sweep_messages(&shared, now).await;
        sweep_feedback(&shared, now).await;
    }
}

/// 75–125 % of `interval`: sweepers of several nodes drift apart.
pub(crate) fn jittered(shared: &Shared, interval: Duration) -> Duration {
    let mut byte = [0];
    shared.deps.ids.fill_random(&mut byte);
    let [byte] = byte;
    interval.mul_f64(0.75 + 0.5 * f64::from(byte) / f64::from(u8::MAX))
}

/// Batch after batch until nothing more is due; a failed batch is left to the next tick.
async fn sweep_messages(shared: &Shared, now: Timestamp) {
    while !shared.drain.is_cancelled() {
        let swept = shared
            .deps
            .messages
            .sweep(shared.options.sweep.batch, shared.options.rules(), now)
            .await;
        match swept {
            Ok(swept) => {
                let more = swept.more;
                on_swept(shared, swept);
                if !more {
                    return;
                }
            }
            Err(error) => {
                shared.metrics.store_failures.increment();
                warn!(%error, "sweep of messages failed");
                return;
            }
        }
    }
}

fn on_swept(shared: &Shared, swept: Swept) {
    let metrics = &shared.metrics;
    metrics.sweeps.expired.add(swept.expired);
    metrics.sweeps.exhausted.add(swept.exhausted);
    metrics.sweeps.lapsed_devices.add(swept.lapsed.len() as u64);
    let ended = swept.expired.saturating_add(swept.exhausted);
    if ended > 0 || !swept.lapsed.is_empty() {
        debug!(
            expired = swept.expired,
            exhausted = swept.exhausted,
            lapsed_devices = swept.lapsed.len(),
            "swept"
        );
    }
    let dropped = shared.wakes.push(swept.lapsed);
    metrics.wakes.dropped.add(dropped);
    let ended = usize::try_from(ended).unwrap_or(usize::MAX);
    shared.on_outcomes(ended);
}

async fn sweep_feedback(shared: &Shared, now: Timestamp) {
    let limit = shared.options.sweep.batch;
    let max_delivery_count = shared.options.feedback.max_delivery_count;
    while !shared.drain.is_cancelled() {
        let feedback = &shared.deps.feedback;
        match feedback
            .sweep_feedback(limit, max_delivery_count, now)
            .await
        {
            Ok(dropped) => {
                shared.metrics.feedback.dropped.add(dropped);
                if dropped < u64::from(limit) {
                    return;
                }
            }
            Err(error) => {
                shared.metrics.store_failures.increment();
                warn!(%error, "sweep of feedback failed");
                return;
            }
        }
    }
}
