//! Durable jobs, their identities and outcomes.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::id::{DeviceKey, HubName, IdentityName, JobId};
use downlink_domain::job::{
    DeviceJob, DeviceJobOutcome, Job, JobError, JobKey, JobKind, JobSpec, JobState,
};

use crate::StoreError;

/// Which jobs are listed; `None` is any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// What they do.
    pub kind: Option<JobKind>,
    /// Where they stand.
    pub state: Option<JobState>,
}

/// The hold of one runner on one job. A later claim of the same job has a higher epoch, and the
/// writes of an earlier one are refused from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobClaim {
    /// Which job.
    pub job: JobKey,
    /// Rises with every claim of the job.
    pub epoch: u64,
}

/// A job that a runner got, and how far those before it came.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedJob {
    /// The hold.
    pub claim: JobClaim,
    /// The job.
    pub job: Job,
    /// Whether all its identities are found.
    pub is_targeted: bool,
    /// The last identity that was found, in order of keys.
    pub cursor: Option<DeviceKey>,
}

/// Identities found for a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundTargets {
    /// Whom; at most 1,000. One that is there already is skipped.
    pub targets: Vec<(DeviceKey, IdentityName)>,
    /// Where the search goes on; `None` when it is over.
    pub next: Option<DeviceKey>,
}

/// How far a job is, told with every write of its runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobProgress {
    /// Identities whose turn has not come.
    pub pending: u64,
    /// Identities at work.
    pub running: u64,
    /// Jobs of the hub that run, this one among them: what the hub allows is shared by them.
    pub running_jobs: u32,
}

/// How a job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobEnd {
    /// Every identity has its outcome.
    Completed,
    /// Nothing could be done; the reason, at most 4 KiB.
    Failed(String),
}

/// Place of a row of `devices.jobs` in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceJobPlace {
    /// The job.
    pub job: JobKey,
    /// The identity.
    pub device: DeviceKey,
}

/// Durable jobs. Any number of runners share them: a job is run by whoever claims it, for as long
/// as the claim is renewed, which every write of the runner does. Fenced writes answer `None` when
/// the claim is no longer the newest; nothing was written then.
#[async_trait]
pub trait JobStore: Send + Sync {
    /// Creates a job, unless the hub has `max_active` that have not ended. `spec` has been
    /// checked. Stores an audit event that names `by`.
    async fn create_job(
        &self,
        hub: HubName,
        spec: JobSpec,
        by: Actor,
        max_active: u32,
        now: Timestamp,
    ) -> Result<Result<Job, JobError>, StoreError>;

    /// One job.
    async fn find_job(&self, hub: HubName, id: JobId) -> Result<Option<Job>, StoreError>;

    /// Up to `limit` jobs created after `after`, in order of creation.
    async fn list_jobs(
        &self,
        hub: HubName,
        filter: JobFilter,
        after: Option<JobKey>,
        limit: u32,
    ) -> Result<Vec<Job>, StoreError>;

    /// Ends a job that has not begun. Stores an audit event that names `by`.
    async fn cancel_job(
        &self,
        hub: HubName,
        id: JobId,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Job, JobError>, StoreError>;

    /// Takes the job that has been due longest, until `until`: one whose start has come, or one
    /// whose runner has not renewed its claim. What an earlier runner had begun is pending again
    /// when it is a twin update, which may be repeated, and has failed
    /// ([`DeviceJobOutcome::lost`]) when it is a method call, which may not.
    async fn claim_job(
        &self,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<ClaimedJob>, StoreError>;

    /// Adds identities. Fenced.
    async fn add_targets(
        &self,
        claim: JobClaim,
        found: FoundTargets,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<JobProgress>, StoreError>;

    /// Begins with up to `limit` pending identities, in order of their keys. Fenced.
    async fn begin_device_jobs(
        &self,
        claim: JobClaim,
        limit: u32,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<Vec<(DeviceKey, IdentityName)>>, StoreError>;

    /// Writes outcomes of identities that were begun, each once; renews the claim, also without
    /// any. Fenced.
    async fn end_device_jobs(
        &self,
        claim: JobClaim,
        outcomes: Vec<(DeviceKey, DeviceJobOutcome)>,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<JobProgress>, StoreError>;

    /// Lets others claim the job at once. Fenced.
    async fn release_job(&self, claim: JobClaim, now: Timestamp) -> Result<(), StoreError>;

    /// Ends a job. Fenced.
    async fn end_job(
        &self,
        claim: JobClaim,
        end: JobEnd,
        now: Timestamp,
    ) -> Result<Option<()>, StoreError>;

    /// Up to `limit` rows after `after`, of one job or of all of the hub, in order of their
    /// places.
    async fn list_device_jobs(
        &self,
        hub: HubName,
        job: Option<JobId>,
        after: Option<DeviceJobPlace>,
        limit: u32,
    ) -> Result<Vec<DeviceJob>, StoreError>;

    /// Forgets up to `limit` rows of one job that ended before `before`, and the job with its last
    /// row; how many rows, the job counted, are gone.
    async fn sweep_jobs(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;
}
