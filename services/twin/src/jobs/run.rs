//! One job from its claim to its end.

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::ErrorCode;
use downlink_domain::Timestamp;
use downlink_domain::id::DeviceKey;
use downlink_domain::job::{DeviceJobOutcome, DeviceJobState, Job, JobOrder};
use downlink_ports::{ClaimedJob, JobClaim, JobEnd, JobProgress, StoreError};
use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::{info, warn};

use super::execute::execute;
use super::metrics::JobEvent;
use super::pace::Pace;
use super::runner::Runner;
use super::targets::TargetError;

/// Time between two steps of a job.
const STEP: Duration = Duration::from_millis(100);
/// Most identities that are begun with at once, and outcomes that are written at once.
const BATCH: usize = 500;
/// Twin updates of one job in flight; they are written in batches of the writer's own.
const MAX_UPDATES: usize = 500;
/// How long what is in flight may take once the node drains.
const LAST_WORK: Duration = Duration::from_secs(5);

type InFlight = FuturesUnordered<BoxFuture<'static, (DeviceKey, DeviceJobOutcome)>>;

/// Why a runner is done with a job.
enum Leave {
    /// Another runner has it.
    Lost,
    /// The node drains.
    Draining,
    /// It is over.
    Ended(JobEnd),
}

/// A job that this node runs.
struct Running<'a> {
    runner: &'a Runner,
    claim: JobClaim,
    job: Job,
    order: Arc<JobOrder>,
    in_flight: InFlight,
    done: Vec<(DeviceKey, DeviceJobOutcome)>,
    progress: JobProgress,
    /// When the claim was renewed last.
    renewed_at: Timestamp,
    pace: Pace,
}

impl Runner {
    /// Runs a job until it is over, another runner has it, or the node drains.
    pub(super) async fn run_job(&self, claimed: ClaimedJob) {
        let (id, hub) = (claimed.job.spec.id.clone(), claimed.job.hub.clone());
        let event = match self.see_through(claimed).await {
            Leave::Lost => JobEvent::Lost,
            Leave::Draining => JobEvent::Released,
            Leave::Ended(JobEnd::Completed) => JobEvent::Completed,
            Leave::Ended(JobEnd::Failed(reason)) => {
                info!(
                    hub = hub.as_str(),
                    job.id = id.as_str(),
                    reason,
                    "a job failed"
                );
                JobEvent::Failed
            }
        };
        self.deps.metrics.count(event);
    }

    async fn see_through(&self, claimed: ClaimedJob) -> Leave {
        let claim = claimed.claim;
        let leave = match self.work(claimed).await {
            Ok(leave) | Err(leave) => leave,
        };
        match leave {
            Leave::Ended(end) => self.end(claim, end).await,
            Leave::Draining => {
                let now = self.deps.clock.now();
                // Without it the lease lapses by itself.
                let _ = self.deps.store.release_job(claim, now).await;
                Leave::Draining
            }
            Leave::Lost => Leave::Lost,
        }
    }

    async fn work(&self, claimed: ClaimedJob) -> Result<Leave, Leave> {
        let failed = |reason: String| Leave::Ended(JobEnd::Failed(reason));
        let spec = &claimed.job.spec;
        let order = JobOrder::read(spec.kind, &spec.work);
        let order = order.map_err(|error| failed(error.to_string()))?;
        if !claimed.is_targeted {
            self.find_targets(&claimed).await?;
        }
        let now = Instant::now();
        let mut running = Running {
            runner: self,
            claim: claimed.claim,
            job: claimed.job,
            order: Arc::new(order),
            in_flight: InFlight::new(),
            done: Vec::new(),
            progress: JobProgress {
                pending: 0,
                running: 0,
                running_jobs: 1,
            },
            renewed_at: Timestamp::UNSET,
            pace: Pace::new(self.options.device_rate.get(), now),
        };
        running.run().await
    }

    /// Finds the identities, page by page, from where an earlier runner was.
    async fn find_targets(&self, claimed: &ClaimedJob) -> Result<(), Leave> {
        let job = &claimed.job;
        let mut after = claimed.cursor;
        loop {
            if self.scope.is_draining() {
                return Err(Leave::Draining);
            }
            let condition = &job.spec.condition;
            let found = self.deps.targets.find(&job.hub, condition, after).await;
            let now = self.deps.clock.now();
            let found = match found {
                Ok(found) => found,
                Err(TargetError::Invalid(reason)) => {
                    return Err(Leave::Ended(JobEnd::Failed(reason)));
                }
                Err(TargetError::Store(error)) => {
                    self.pause_after(&error, job, now).await?;
                    continue;
                }
            };
            let (next, until) = (found.next, now + self.options.lease);
            let added = self
                .deps
                .store
                .add_targets(claimed.claim, found, until, now);
            match added.await {
                Ok(Some(_)) if next.is_none() => return Ok(()),
                Ok(Some(_)) => after = next,
                Ok(None) => return Err(Leave::Lost),
                Err(error) => self.pause_after(&error, job, now).await?,
            }
        }
    }

    /// Waits a little after a failure of the store, unless the job's time is up.
    async fn pause_after(
        &self,
        error: &StoreError,
        job: &Job,
        now: Timestamp,
    ) -> Result<(), Leave> {
        self.deps.metrics.count_failure();
        warn!(%error, job.id = job.spec.id.as_str(), "a job waits for the store");
        if now >= job.ends_at() {
            let reason = "the store was away for as long as the job could run".to_owned();
            return Err(Leave::Ended(JobEnd::Failed(reason)));
        }
        tokio::select! {
            () = self.scope.draining() => Err(Leave::Draining),
            () = tokio::time::sleep(self.options.poll_interval) => Ok(()),
        }
    }

    async fn end(&self, claim: JobClaim, end: JobEnd) -> Leave {
        let mut end = end;
        if let JobEnd::Failed(reason) = &mut end {
            reason.truncate(reason.floor_char_boundary(4 * 1024));
        }
        loop {
            let now = self.deps.clock.now();
            match self.deps.store.end_job(claim, end.clone(), now).await {
                Ok(Some(())) => return Leave::Ended(end),
                Ok(None) => return Leave::Lost,
                Err(error) => {
                    self.deps.metrics.count_failure();
                    warn!(%error, "the end of a job waits for the store");
                }
            }
            tokio::select! {
                // The next runner finds nothing left to do and ends it.
                () = self.scope.draining() => return Leave::Draining,
                () = tokio::time::sleep(self.options.poll_interval) => {}
            }
        }
    }
}

impl Running<'_> {
    async fn run(&mut self) -> Result<Leave, Leave> {
        let mut steps = interval(STEP);
        steps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.runner.scope.draining() => return self.finish().await,
                Some(outcome) = self.in_flight.next() => {
                    self.done.push(outcome);
                    if self.done.len() < BATCH {
                        continue;
                    }
                }
                _ = steps.tick() => {}
            }
            if !self.write().await? {
                continue;
            }
            let now = self.runner.deps.clock.now();
            if now >= self.job.ends_at() {
                self.expire(now).await?;
            } else {
                self.begin(now).await?;
            }
            let is_over = self.progress.pending == 0 && self.progress.running == 0;
            if is_over && self.in_flight.is_empty() && self.done.is_empty() {
                return Ok(Leave::Ended(JobEnd::Completed));
            }
        }
    }

    /// Writes what is done, and renews the claim in time. Whether the store did its part.
    async fn write(&mut self) -> Result<bool, Leave> {
        let now = self.runner.deps.clock.now();
        let lease = self.runner.options.lease;
        let is_fresh = now.since(self.renewed_at) < lease / 4;
        if self.done.is_empty() && is_fresh {
            return Ok(true);
        }
        let store = &self.runner.deps.store;
        let done = self.done.clone();
        match store
            .end_device_jobs(self.claim, done, now + lease, now)
            .await
        {
            Ok(None) => Err(Leave::Lost),
            Ok(Some(progress)) => {
                let is_done = |(_, outcome): &&(DeviceKey, DeviceJobOutcome)| {
                    outcome.state() == DeviceJobState::Completed
                };
                let succeeded = self.done.iter().filter(is_done).count();
                let failed = self.done.len() - succeeded;
                self.runner.deps.metrics.count_devices(succeeded, failed);
                self.done.clear();
                self.progress = progress;
                self.renewed_at = now;
                Ok(true)
            }
            Err(error) => {
                self.note(&error);
                Ok(false)
            }
        }
    }

    fn note(&self, error: &StoreError) {
        self.runner.deps.metrics.count_failure();
        warn!(%error, job.id = self.job.spec.id.as_str(), "a job waits for the store");
    }

    /// Begins with as many identities as rate and room allow.
    async fn begin(&mut self, now: Timestamp) -> Result<(), Leave> {
        let options = &self.runner.options;
        let most = match *self.order {
            JobOrder::UpdateTwin(_) => MAX_UPDATES,
            JobOrder::Invoke { .. } => options.max_calls.get() as usize,
        };
        let room = most.saturating_sub(self.in_flight.len()).min(BATCH);
        let sharers = self.progress.running_jobs;
        let allowed = self.pace.available(sharers, Instant::now());
        let limit = allowed.min(u32::try_from(room).unwrap_or(u32::MAX));
        if limit == 0 || self.progress.pending == 0 {
            return Ok(());
        }
        let deps = &self.runner.deps;
        let until = now + options.lease;
        let begun = deps.store.begin_device_jobs(self.claim, limit, until, now);
        let begun = match begun.await {
            Ok(Some(begun)) => begun,
            Ok(None) => return Err(Leave::Lost),
            Err(error) => {
                self.note(&error);
                return Err(self.step_back().await);
            }
        };
        self.renewed_at = now;
        self.pace.take(begun.len());
        self.progress.pending = self.progress.pending.saturating_sub(begun.len() as u64);
        self.progress.running += begun.len() as u64;
        for target in begun {
            let hands = Arc::clone(&deps.hands);
            let order = Arc::clone(&self.order);
            let doing = execute(hands, self.job.hub.clone(), order, target);
            self.in_flight.push(Box::pin(doing));
        }
        Ok(())
    }

    /// Fails what has not begun when the job's time is up; what is in flight has its own time.
    async fn expire(&mut self, now: Timestamp) -> Result<(), Leave> {
        if self.progress.pending == 0 || !self.done.is_empty() {
            return Ok(());
        }
        let deps = &self.runner.deps;
        let until = now + self.runner.options.lease;
        let limit = u32::try_from(BATCH).unwrap_or(u32::MAX);
        let begun = deps.store.begin_device_jobs(self.claim, limit, until, now);
        let begun = match begun.await {
            Ok(Some(begun)) => begun,
            Ok(None) => return Err(Leave::Lost),
            Err(error) => {
                self.note(&error);
                return Err(self.step_back().await);
            }
        };
        let text = "the job ran as long as it may before the turn of this identity came";
        let late = || DeviceJobOutcome::failed(ErrorCode::GatewayTimeout, &text);
        self.done
            .extend(begun.into_iter().map(|(device, _)| (device, late())));
        // The claim counts as stale, so that this is written though nothing else is done.
        self.renewed_at = Timestamp::UNSET;
        self.write().await.map(drop)
    }

    /// Gives the job back: what was begun is not known, so another claim must settle it.
    async fn step_back(&mut self) -> Leave {
        self.finish().await.unwrap_or_else(|leave| leave)
    }

    /// Lets what is in flight end, as far as there is time, and writes it.
    async fn finish(&mut self) -> Result<Leave, Leave> {
        let all = async {
            while let Some(outcome) = self.in_flight.next().await {
                self.done.push(outcome);
            }
        };
        let _ = tokio::time::timeout(LAST_WORK, all).await;
        self.renewed_at = Timestamp::UNSET;
        self.write().await?;
        Ok(Leave::Draining)
    }
}
