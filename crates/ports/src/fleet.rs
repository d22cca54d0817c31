//! What is asked of the part that works on many identities at once.

use async_trait::async_trait;
use downlink_domain::access::Actor;
use downlink_domain::id::{HubName, JobId};
use downlink_domain::job::{DeviceJob, Job, JobKey, JobSpec};

use crate::{DeviceJobPlace, JobFilter, PeerError};

/// Jobs, served by the twin service.
#[async_trait]
pub trait FleetApi: Send + Sync {
    /// Creates a job; it has begun, or will, when this is answered. Refuses with the codes of
    /// `JobError`.
    async fn create_job(&self, hub: HubName, spec: JobSpec, by: Actor) -> Result<Job, PeerError>;

    /// One job, `None` when there is none or it is forgotten.
    async fn find_job(&self, hub: HubName, id: JobId) -> Result<Option<Job>, PeerError>;

    /// Up to `limit` jobs (1–1000) created after `after`, in order of creation.
    async fn list_jobs(
        &self,
        hub: HubName,
        filter: JobFilter,
        after: Option<JobKey>,
        limit: u32,
    ) -> Result<Vec<Job>, PeerError>;

    /// Ends a job that has not begun. Refuses with the codes of `JobError`.
    async fn cancel_job(&self, hub: HubName, id: JobId, by: Actor) -> Result<Job, PeerError>;

    /// Up to `limit` rows (1–1000) of `devices.jobs` after `after`, of one job or of all.
    async fn list_device_jobs(
        &self,
        hub: HubName,
        job: Option<JobId>,
        after: Option<DeviceJobPlace>,
        limit: u32,
    ) -> Result<Vec<DeviceJob>, PeerError>;
}
