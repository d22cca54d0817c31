//! Looks for jobs that are due, runs them, forgets old ones.

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::Timestamp;
use downlink_ports::ClaimedJob;
use downlink_runtime::{Lifecycle, OnError};
use tokio::sync::{Notify, Semaphore};
use tracing::{debug, warn};

use super::metrics::JobEvent;
use super::{JobDeps, JobOptions};

/// Jobs that one node runs at a time; further ones wait for it or for another node.
const MAX_RUNNING: usize = 64;
/// Time between two looks for jobs to forget, and how many rows go at once.
const SWEEP_INTERVAL: Duration = Duration::from_mins(10);
const SWEEP_ROWS: u32 = 1000;

/// The runner of one node.
pub(crate) struct Runner {
    pub(super) options: JobOptions,
    pub(super) deps: JobDeps,
    due: Arc<Notify>,
    room: Arc<Semaphore>,
    pub(super) scope: Lifecycle,
}

impl Runner {
    pub(super) fn new(
        options: JobOptions,
        deps: JobDeps,
        due: Arc<Notify>,
        scope: &Lifecycle,
    ) -> Self {
        Self {
            options,
            deps,
            due,
            room: Arc::new(Semaphore::new(MAX_RUNNING)),
            scope: scope.clone(),
        }
    }

    /// Runs until the scope drains.
    pub(super) async fn run(self: Arc<Self>) {
        let mut swept_at = None;
        loop {
            self.claim_all().await;
            let now = self.deps.clock.now();
            if swept_at.is_none_or(|at| now.since(at) >= SWEEP_INTERVAL) {
                swept_at = Some(now);
                self.sweep(now).await;
            }
            let next = now + self.jittered(self.options.poll_interval);
            tokio::select! {
                () = self.scope.draining() => return,
                () = self.due.notified() => {}
                () = self.deps.clock.sleep_until(next) => {}
            }
        }
    }

    /// Takes what is due, as far as there is room.
    async fn claim_all(self: &Arc<Self>) {
        while !self.scope.is_draining() {
            let Ok(room) = Arc::clone(&self.room).try_acquire_owned() else {
                return;
            };
            let Some(claimed) = self.claim().await else {
                return;
            };
            self.deps.metrics.count(JobEvent::Claimed);
            let runner = Arc::clone(self);
            self.scope.spawn("job", OnError::Log, async move {
                runner.run_job(claimed).await;
                drop(room);
            });
        }
    }

    async fn claim(&self) -> Option<ClaimedJob> {
        let now = self.deps.clock.now();
        let until = now + self.options.lease;
        match self.deps.store.claim_job(until, now).await {
            Ok(claimed) => claimed,
            Err(error) => {
                self.deps.metrics.count_failure();
                warn!(%error, "jobs cannot be claimed");
                None
            }
        }
    }

    /// 75–125 % of `interval`: nodes drift apart.
    fn jittered(&self, interval: Duration) -> Duration {
        let mut byte = [0];
        self.deps.ids.fill_random(&mut byte);
        interval.mul_f64(0.75 + 0.5 * f64::from(byte[0]) / f64::from(u8::MAX))
    }

    /// Forgets jobs that ended too long ago.
    async fn sweep(&self, now: Timestamp) {
        let before = now - self.options.history;
        while !self.scope.is_draining() {
            match self.deps.store.sweep_jobs(before, SWEEP_ROWS).await {
                Ok(0) => return,
                Ok(gone) => debug!(gone, "old jobs are forgotten"),
                Err(error) => {
                    self.deps.metrics.count_failure();
                    warn!(%error, "old jobs cannot be forgotten");
                    return;
                }
            }
        }
    }
}
