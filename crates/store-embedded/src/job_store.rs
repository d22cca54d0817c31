//! Jobs and their identities.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::id::{DeviceKey, HubName, IdentityName, JobId};
use downlink_domain::job::{
    DeviceJob, DeviceJobOutcome, Job, JobError, JobKey, JobKind, JobSpec, JobState,
};
use downlink_ports::{
    ClaimedJob, DeviceJobPlace, FoundTargets, JobClaim, JobEnd, JobFilter, JobProgress, JobStore,
    StoreError,
};

use self::create::{CancelJob, CreateJob};
use self::run::{AddTargets, BeginDeviceJobs, ClaimJob, EndDeviceJobs, EndJob, ReleaseJob};
use self::sweep::SweepJobs;
use crate::error::store_error;
use crate::store::Store;

mod create;
mod read;
mod run;
mod sweep;

#[async_trait]
impl JobStore for Store {
    async fn create_job(
        &self,
        hub: HubName,
        spec: JobSpec,
        by: Actor,
        max_active: u32,
        now: Timestamp,
    ) -> Result<Result<Job, JobError>, StoreError> {
        let work = CreateJob {
            hub,
            spec,
            by,
            max_active,
            now,
        };
        self.queue.call(work).await
    }

    async fn find_job(&self, hub: HubName, id: JobId) -> Result<Option<Job>, StoreError> {
        let mut reader = self.reader().await?;
        read::find(&mut reader, &hub, &id).await
    }

    async fn list_jobs(
        &self,
        hub: HubName,
        filter: JobFilter,
        after: Option<JobKey>,
        limit: u32,
    ) -> Result<Vec<Job>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = sqlx::query(include_str!("../queries/list_jobs.sql"))
            .bind(hub.as_str())
            .bind(after.map_or(i64::MIN, |key| key.0))
            .bind(filter.kind.map(JobKind::as_str))
            .bind(filter.state.map(JobState::as_str))
            .bind(i64::from(limit))
            .fetch_all(&mut *reader)
            .await
            .map_err(store_error)?;
        rows.iter().map(read::job).collect()
    }

    async fn cancel_job(
        &self,
        hub: HubName,
        id: JobId,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Job, JobError>, StoreError> {
        self.queue.call(CancelJob { hub, id, by, now }).await
    }

    async fn claim_job(
        &self,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<ClaimedJob>, StoreError> {
        self.queue.call(ClaimJob { until, now }).await
    }

    async fn add_targets(
        &self,
        claim: JobClaim,
        found: FoundTargets,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<JobProgress>, StoreError> {
        let work = AddTargets {
            claim,
            found,
            until,
            now,
        };
        self.queue.call(work).await
    }

    async fn begin_device_jobs(
        &self,
        claim: JobClaim,
        limit: u32,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Vec<(DeviceKey, IdentityName)>>, StoreError> {
        let work = BeginDeviceJobs {
            claim,
            limit,
            until,
            now,
        };
        self.queue.call(work).await
    }

    async fn end_device_jobs(
        &self,
        claim: JobClaim,
        outcomes: Vec<(DeviceKey, DeviceJobOutcome)>,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<JobProgress>, StoreError> {
        let work = EndDeviceJobs {
            claim,
            outcomes,
            until,
            now,
        };
        self.queue.call(work).await
    }

    async fn release_job(&self, claim: JobClaim, now: Timestamp) -> Result<(), StoreError> {
        self.queue.call(ReleaseJob { claim, now }).await
    }

    async fn end_job(
        &self,
        claim: JobClaim,
        end: JobEnd,
        now: Timestamp,
    ) -> Result<Option<()>, StoreError> {
        self.queue.call(EndJob { claim, end, now }).await
    }

    async fn list_device_jobs(
        &self,
        hub: HubName,
        job: Option<JobId>,
        after: Option<DeviceJobPlace>,
        limit: u32,
    ) -> Result<Vec<DeviceJob>, StoreError> {
        let mut reader = self.reader().await?;
        let job = match job {
            None => None,
            Some(id) => match read::find(&mut reader, &hub, &id).await? {
                None => return Ok(Vec::new()),
                Some(job) => Some(job.key.0),
            },
        };
        // The place before the first of one job is the last there can be of the job before it.
        let first = job.map(|job| (job.saturating_sub(1), i64::MAX));
        let after = after.map(|place| (place.job.0, place.device.0));
        let after = first.max(after).unwrap_or((i64::MIN, i64::MIN));
        let rows = sqlx::query(include_str!("../queries/list_device_jobs.sql"))
            .bind(hub.as_str())
            .bind(after.0)
            .bind(after.1)
            .bind(job.unwrap_or(i64::MAX))
            .bind(i64::from(limit))
            .fetch_all(&mut *reader)
            .await
            .map_err(store_error)?;
        rows.iter().map(read::device_job).collect()
    }

    async fn sweep_jobs(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.queue.call(SweepJobs { before, limit }).await
    }
}
