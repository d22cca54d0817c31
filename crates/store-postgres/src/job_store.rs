//! Jobs and their identities.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::id::{DeviceKey, HubName, IdentityName, JobId};
use downlink_domain::job::{DeviceJob, DeviceJobOutcome, Job, JobError, JobKey, JobSpec};
use downlink_ports::{
    ClaimedJob, DeviceJobPlace, FoundTargets, JobClaim, JobEnd, JobFilter, JobProgress, JobStore,
    StoreError,
};

use self::create::{CancelJob, CreateJob};
use self::read::{FindJob, ListDeviceJobs, ListJobs};
use self::run::{AddTargets, BeginDeviceJobs, ClaimJob, EndDeviceJobs, EndJob, ReleaseJob};
use self::sweep::SweepJobs;
use crate::store::PostgresStore;

mod create;
mod read;
mod run;
mod sweep;

#[async_trait]
impl JobStore for PostgresStore {
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
        self.run(&work).await
    }

    async fn find_job(&self, hub: HubName, id: JobId) -> Result<Option<Job>, StoreError> {
        self.run(&FindJob { hub, id }).await
    }

    async fn list_jobs(
        &self,
        hub: HubName,
        filter: JobFilter,
        after: Option<JobKey>,
        limit: u32,
    ) -> Result<Vec<Job>, StoreError> {
        let work = ListJobs {
            hub,
            filter,
            after,
            limit,
        };
        self.run(&work).await
    }

    async fn cancel_job(
        &self,
        hub: HubName,
        id: JobId,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Job, JobError>, StoreError> {
        self.run(&CancelJob { hub, id, by, now }).await
    }

    async fn claim_job(
        &self,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<ClaimedJob>, StoreError> {
        self.run(&ClaimJob { until, now }).await
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
        self.run(&work).await
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
        self.run(&work).await
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
        self.run(&work).await
    }

    async fn release_job(&self, claim: JobClaim, now: Timestamp) -> Result<(), StoreError> {
        self.run(&ReleaseJob { claim, now }).await
    }

    async fn end_job(
        &self,
        claim: JobClaim,
        end: JobEnd,
        now: Timestamp,
    ) -> Result<Option<()>, StoreError> {
        self.run(&EndJob { claim, end, now }).await
    }

    async fn list_device_jobs(
        &self,
        hub: HubName,
        job: Option<JobId>,
        after: Option<DeviceJobPlace>,
        limit: u32,
    ) -> Result<Vec<DeviceJob>, StoreError> {
        let job = match job {
            None => None,
            Some(id) => match self.find_job(hub.clone(), id).await? {
                None => return Ok(Vec::new()),
                Some(job) => Some(job.key),
            },
        };
        let work = ListDeviceJobs {
            hub,
            job,
            after,
            limit,
        };
        self.run(&work).await
    }

    async fn sweep_jobs(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.run(&SweepJobs { before, limit }).await
    }
}
