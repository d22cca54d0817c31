//! The calling side.

use async_trait::async_trait;
use downlink_domain::access::Actor;
use downlink_domain::id::{HubName, JobId};
use downlink_domain::job::{DeviceJob, Job, JobKey, JobSpec};
use downlink_ports::{DeviceJobPlace, FleetApi, JobFilter, PeerError};
use downlink_proto::v1;
use downlink_proto::v1::fleet_service_client::FleetServiceClient;
use tonic::transport::Channel;

use crate::carrier::MAX_FRAME_BYTES;
use crate::failure::unreadable;
use crate::mux::CallStream;
use crate::nodes::Repeat;
use crate::twin::{GrpcTwinClient, TwinStream};
use crate::wire::{FromWire, ToWire, WireError, present, read_all};

const SERVICE: &str = TwinStream::SERVICE;

fn client(channel: Channel) -> FleetServiceClient<Channel> {
    FleetServiceClient::new(channel).max_decoding_message_size(MAX_FRAME_BYTES)
}

#[async_trait]
impl FleetApi for GrpcTwinClient {
    async fn create_job(&self, hub: HubName, spec: JobSpec, by: Actor) -> Result<Job, PeerError> {
        let key = (hub.clone(), spec.id.clone());
        let request = v1::CreateJobRequest {
            hub: hub.to_string(),
            spec: Some(spec.to_wire()),
            by: by.to_wire(),
        };
        let call = async |channel, request| client(channel).create_job(request).await;
        let timeout = self.peer().call_timeout();
        let response = self
            .peer()
            .unary(&key, Repeat::Never, timeout, request, call)
            .await?;
        read_job(response.job)
    }

    async fn find_job(&self, hub: HubName, id: JobId) -> Result<Option<Job>, PeerError> {
        let request = v1::FindJobRequest {
            hub: hub.to_string(),
            id: id.to_string(),
        };
        let call = async |channel, request| client(channel).find_job(request).await;
        let timeout = self.peer().call_timeout();
        let response = self
            .peer()
            .unary(&(&hub, &id), Repeat::Read, timeout, request, call)
            .await?;
        let job = response.job.map(Job::from_wire).transpose();
        job.map_err(broken)
    }

    async fn list_jobs(
        &self,
        hub: HubName,
        filter: JobFilter,
        after: Option<JobKey>,
        limit: u32,
    ) -> Result<Vec<Job>, PeerError> {
        let request = v1::ListJobsRequest {
            hub: hub.to_string(),
            kind: filter.kind.map(|kind| kind.to_wire().into()),
            state: filter.state.map(|state| state.to_wire().into()),
            after: after.map(|key| key.0),
            limit,
        };
        let call = async |channel, request| client(channel).list_jobs(request).await;
        let timeout = self.peer().call_timeout();
        let response = self
            .peer()
            .unary(&hub, Repeat::Read, timeout, request, call)
            .await?;
        read_all(response.jobs).map_err(broken)
    }

    async fn cancel_job(&self, hub: HubName, id: JobId, by: Actor) -> Result<Job, PeerError> {
        let request = v1::CancelJobRequest {
            hub: hub.to_string(),
            id: id.to_string(),
            by: by.to_wire(),
        };
        let call = async |channel, request| client(channel).cancel_job(request).await;
        let timeout = self.peer().call_timeout();
        let response = self
            .peer()
            .unary(&(&hub, &id), Repeat::Never, timeout, request, call)
            .await?;
        read_job(response.job)
    }

    async fn list_device_jobs(
        &self,
        hub: HubName,
        job: Option<JobId>,
        after: Option<DeviceJobPlace>,
        limit: u32,
    ) -> Result<Vec<DeviceJob>, PeerError> {
        let request = v1::ListDeviceJobsRequest {
            hub: hub.to_string(),
            job_id: job.map(|id| id.to_string()),
            after_job: after.map(|place| place.job.0),
            after_device: after.map(|place| place.device.0),
            limit,
        };
        let call = async |channel, request| client(channel).list_device_jobs(request).await;
        let timeout = self.peer().call_timeout();
        let response = self
            .peer()
            .unary(&hub, Repeat::Read, timeout, request, call)
            .await?;
        read_all(response.device_jobs).map_err(broken)
    }
}

fn read_job(job: Option<v1::Job>) -> Result<Job, PeerError> {
    present("job", job).and_then(Job::from_wire).map_err(broken)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that `map_err` takes"
)]
fn broken(error: WireError) -> PeerError {
    tracing::warn!(%error, "an answer breaks the contract");
    unreadable(SERVICE)
}
