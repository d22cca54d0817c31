//! The serving side.

use std::sync::Arc;

use downlink_domain::access::Actor;
use downlink_domain::id::{DeviceKey, HubName, JobId};
use downlink_domain::job::{JobKey, JobSpec};
use downlink_ports::{DeviceJobPlace, FleetApi, JobFilter};
use downlink_proto::v1;
use downlink_proto::v1::fleet_service_server::FleetService;
use tonic::{Request, Response, Status};

use super::MAX_LISTED;
use crate::failure::{refuse, to_status};
use crate::wire::fleet::{kind_of, state_of};
use crate::wire::{FromWire, ToWire, WireError, present};

/// Serves jobs.
pub(crate) struct FleetServer {
    api: Arc<dyn FleetApi>,
}

impl FleetServer {
    pub(crate) fn new(api: Arc<dyn FleetApi>) -> Self {
        Self { api }
    }
}

fn named(hub: &str, id: &str) -> Result<(HubName, JobId), WireError> {
    Ok((hub.parse()?, id.parse()?))
}

fn check_limit(limit: u32) -> Result<(), WireError> {
    if (1..=MAX_LISTED).contains(&limit) {
        Ok(())
    } else {
        Err(WireError::OutOfRange("limit"))
    }
}

fn filter(request: &v1::ListJobsRequest) -> Result<JobFilter, WireError> {
    Ok(JobFilter {
        kind: request.kind.map(kind_of).transpose()?,
        state: request.state.map(state_of).transpose()?,
    })
}

fn place(request: &v1::ListDeviceJobsRequest) -> Result<Option<DeviceJobPlace>, WireError> {
    match (request.after_job, request.after_device) {
        (None, None) => Ok(None),
        (Some(job), Some(device)) => Ok(Some(DeviceJobPlace {
            job: JobKey(job),
            device: DeviceKey(device),
        })),
        (None, Some(_)) => Err(WireError::Missing("after_job")),
        (Some(_), None) => Err(WireError::Missing("after_device")),
    }
}

#[tonic::async_trait]
impl FleetService for FleetServer {
    async fn create_job(
        &self,
        request: Request<v1::CreateJobRequest>,
    ) -> Result<Response<v1::CreateJobResponse>, Status> {
        let request = request.into_inner();
        let hub: HubName = request.hub.parse().map_err(refuse)?;
        let spec = present("spec", request.spec).and_then(JobSpec::from_wire);
        let spec = spec.map_err(refuse)?;
        let by = Actor::from_wire(request.by).map_err(refuse)?;
        let created = self.api.create_job(hub, spec, by).await;
        let job = Some(created.map_err(to_status)?.to_wire());
        Ok(Response::new(v1::CreateJobResponse { job }))
    }

    async fn find_job(
        &self,
        request: Request<v1::FindJobRequest>,
    ) -> Result<Response<v1::FindJobResponse>, Status> {
        let request = request.into_inner();
        let (hub, id) = named(&request.hub, &request.id).map_err(refuse)?;
        let found = self.api.find_job(hub, id).await.map_err(to_status)?;
        let job = found.map(ToWire::to_wire);
        Ok(Response::new(v1::FindJobResponse { job }))
    }

    async fn list_jobs(
        &self,
        request: Request<v1::ListJobsRequest>,
    ) -> Result<Response<v1::ListJobsResponse>, Status> {
        let request = request.into_inner();
        let hub: HubName = request.hub.parse().map_err(refuse)?;
        check_limit(request.limit).map_err(refuse)?;
        let filter = filter(&request).map_err(refuse)?;
        let after = request.after.map(JobKey);
        let listed = self.api.list_jobs(hub, filter, after, request.limit).await;
        let listed = listed.map_err(to_status)?.into_iter();
        let jobs = listed.map(ToWire::to_wire).collect();
        Ok(Response::new(v1::ListJobsResponse { jobs }))
    }

    async fn cancel_job(
        &self,
        request: Request<v1::CancelJobRequest>,
    ) -> Result<Response<v1::CancelJobResponse>, Status> {
        let request = request.into_inner();
        let (hub, id) = named(&request.hub, &request.id).map_err(refuse)?;
        let by = Actor::from_wire(request.by).map_err(refuse)?;
        let cancelled = self.api.cancel_job(hub, id, by).await;
        let job = Some(cancelled.map_err(to_status)?.to_wire());
        Ok(Response::new(v1::CancelJobResponse { job }))
    }

    async fn list_device_jobs(
        &self,
        request: Request<v1::ListDeviceJobsRequest>,
    ) -> Result<Response<v1::ListDeviceJobsResponse>, Status> {
        let request = request.into_inner();
        let hub: HubName = request.hub.parse().map_err(refuse)?;
        check_limit(request.limit).map_err(refuse)?;
        let after = place(&request).map_err(refuse)?;
        let job = request.job_id.map(|id| id.parse()).transpose();
        let job = job.map_err(refuse)?;
        let listed = self
            .api
            .list_device_jobs(hub, job, after, request.limit)
            .await;
        let listed = listed.map_err(to_status)?.into_iter();
        let device_jobs = listed.map(ToWire::to_wire).collect();
        Ok(Response::new(v1::ListDeviceJobsResponse { device_jobs }))
    }
}
