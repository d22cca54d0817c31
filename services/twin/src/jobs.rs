//! Jobs: created here, run by whichever node of the service claims them (registry.md §6).
//!
//! A claim is a lease with an epoch. The node that has it finds the identities page by page, takes
//! some of them at a time, as fast as the rate allows, and writes what became of them; every write
//! renews the lease. When it dies, another node goes on where the store says it stood: a twin
//! update that was begun is made again, which changes nothing but a version; a method that was
//! begun is not called again, its outcome is recorded as unknown.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::access::Actor;
use downlink_domain::caps;
use downlink_domain::device::IfMatch;
use downlink_domain::id::{HubName, JobId};
use downlink_domain::job::{DeviceJob, Job, JobError, JobKey, JobOrder, JobSpec};
use downlink_domain::twin::{Twin, TwinChange, TwinRules, apply};
use downlink_ports::{Clock, DeviceJobPlace, FleetApi, IdSource, JobFilter, JobStore, PeerError};
use downlink_runtime::{Lifecycle, OnError};
use tokio::sync::Notify;

use self::execute::Hands;
use self::metrics::JobMetrics;
use self::runner::Runner;
use self::targets::Targets;

pub(crate) mod execute;
pub(crate) mod metrics;
mod pace;
mod run;
mod runner;
pub(crate) mod targets;
#[cfg(test)]
mod tests;

/// How jobs are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobOptions {
    /// Jobs of one hub that have not ended; more are refused.
    pub max_active: u32,
    /// Identities that all jobs of one hub together begin with per second.
    pub device_rate: NonZeroU32,
    /// Method calls of one job in flight.
    pub max_calls: NonZeroU32,
    /// How long a node that says nothing keeps a job.
    pub lease: Duration,
    /// Mean time between two looks for jobs that are due.
    pub poll_interval: Duration,
    /// How long ended jobs are remembered.
    pub history: Duration,
}

impl Default for JobOptions {
    /// What the contract gives its largest tier; a lease of 30 seconds, a look each second.
    fn default() -> Self {
        Self {
            max_active: 10,
            device_rate: NonZeroU32::MIN.saturating_add(49),
            max_calls: NonZeroU32::MIN.saturating_add(99),
            lease: Duration::from_secs(30),
            poll_interval: Duration::from_secs(1),
            history: caps::JOB_HISTORY,
        }
    }
}

/// The part of the service that works on many identities at once.
pub(crate) struct Fleet {
    store: Arc<dyn JobStore>,
    clock: Arc<dyn Clock>,
    options: JobOptions,
    rules: TwinRules,
    /// Tells the runner of this node that something is due.
    due: Arc<Notify>,
}

/// What jobs stand on.
pub(crate) struct JobDeps {
    pub(crate) store: Arc<dyn JobStore>,
    pub(crate) targets: Arc<dyn Targets>,
    pub(crate) hands: Arc<dyn Hands>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) metrics: JobMetrics,
}

impl Fleet {
    /// Starts the runner of this node in a scope of `lifecycle`.
    pub(crate) fn start(
        options: JobOptions,
        rules: TwinRules,
        deps: JobDeps,
        lifecycle: &Lifecycle,
    ) -> Self {
        let due = Arc::new(Notify::new());
        let fleet = Self {
            store: Arc::clone(&deps.store),
            clock: Arc::clone(&deps.clock),
            options,
            rules,
            due: Arc::clone(&due),
        };
        let scope = lifecycle.child("twin.jobs");
        let runner = Arc::new(Runner::new(options, deps, due, &scope));
        scope.spawn("job-runner", OnError::Shutdown, async move {
            runner.run().await;
        });
        fleet
    }

    /// Refuses work that every twin would refuse.
    fn try_out(&self, order: JobOrder) -> Result<(), JobError> {
        let JobOrder::UpdateTwin(TwinChange::Patch { tags, desired, .. }) = order else {
            return Ok(());
        };
        let change = TwinChange::Patch {
            tags,
            desired,
            if_match: IfMatch::Any,
        };
        let now = self.clock.now();
        apply(&Twin::new(now), change, self.rules, now)
            .map(drop)
            .map_err(|error| JobError::Invalid(error.to_string()))
    }
}

#[async_trait]
impl FleetApi for Fleet {
    async fn create_job(&self, hub: HubName, spec: JobSpec, by: Actor) -> Result<Job, PeerError> {
        let now = self.clock.now();
        spec.check(now)
            .and_then(|order| self.try_out(order))
            .map_err(|error| refusal(&error))?;
        let most = self.options.max_active;
        let created = self.store.create_job(hub, spec, by, most, now).await?;
        let job = created.map_err(|error| refusal(&error))?;
        self.due.notify_one();
        Ok(job)
    }

    async fn find_job(&self, hub: HubName, id: JobId) -> Result<Option<Job>, PeerError> {
        Ok(self.store.find_job(hub, id).await?)
    }

    async fn list_jobs(
        &self,
        hub: HubName,
        filter: JobFilter,
        after: Option<JobKey>,
        limit: u32,
    ) -> Result<Vec<Job>, PeerError> {
        Ok(self.store.list_jobs(hub, filter, after, limit).await?)
    }

    async fn cancel_job(&self, hub: HubName, id: JobId, by: Actor) -> Result<Job, PeerError> {
        let now = self.clock.now();
        let cancelled = self.store.cancel_job(hub, id, by, now).await?;
        cancelled.map_err(|error| refusal(&error))
    }

    async fn list_device_jobs(
        &self,
        hub: HubName,
        job: Option<JobId>,
        after: Option<DeviceJobPlace>,
        limit: u32,
    ) -> Result<Vec<DeviceJob>, PeerError> {
        let listed = self.store.list_device_jobs(hub, job, after, limit);
        Ok(listed.await?)
    }
}

fn refusal(error: &JobError) -> PeerError {
    PeerError::refused(error.code(), error)
}
