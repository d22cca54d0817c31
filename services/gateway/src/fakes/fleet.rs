//! Jobs, straight on the store; nobody runs them.

use async_trait::async_trait;
use downlink_domain::access::Actor;
use downlink_domain::id::{HubName, JobId};
use downlink_domain::job::{DeviceJob, Job, JobKey, JobSpec};
use downlink_ports::{Clock, DeviceJobPlace, FleetApi, JobFilter, JobStore, PeerError};

use super::Backend;

/// Jobs of a hub that have not ended.
const MOST: u32 = 3;

#[async_trait]
impl FleetApi for Backend {
    async fn create_job(&self, hub: HubName, spec: JobSpec, by: Actor) -> Result<Job, PeerError> {
        let now = self.clock.now();
        let checked = spec.check(now);
        checked.map_err(|error| PeerError::refused(error.code(), &error))?;
        let created = self.store.create_job(hub, spec, by, MOST, now).await?;
        created.map_err(|error| PeerError::refused(error.code(), &error))
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
        cancelled.map_err(|error| PeerError::refused(error.code(), &error))
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
