//! Jobs over a carrier: what is sent arrives whole, refusals keep their codes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::access::Actor;
use downlink_domain::id::{DeviceKey, HubName, IdentityName, JobId};
use downlink_domain::job::{
    DeviceJob, DeviceJobOutcome, DeviceJobState, Job, JobError, JobKey, JobKind, JobSpec, JobState,
    JobStatistics,
};
use downlink_domain::{ErrorCode, Timestamp};
use downlink_ports::{DeviceJobPlace, FleetApi, JobFilter, PeerError};
use downlink_runtime::Lifecycle;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::{GrpcTwinClient, MuxOptions, Services, in_process};

fn noon() -> Timestamp {
    Timestamp::from_millis(1_767_614_400_000)
}

fn hub() -> HubName {
    "hub.example".parse().unwrap()
}

fn somebody() -> Actor {
    Actor {
        credential: "policy service".to_owned(),
        address: "127.0.0.1:7".to_owned(),
        door: "https".to_owned(),
    }
}

fn spec() -> JobSpec {
    let Value::Object(work) = json!({ "methodName": "m", "payload": { "\u{e9}": 1.5 } }) else {
        unreachable!("it is an object");
    };
    JobSpec {
        id: "job-1".parse().unwrap(),
        kind: JobKind::DeviceMethod,
        condition: "tags.site = 'Z\u{fc}rich'".to_owned(),
        work,
        start_at: noon() + Duration::from_millis(1),
        max_execution: Duration::from_millis(1_500),
    }
}

fn job(state: JobState) -> Job {
    Job {
        key: JobKey(7),
        hub: hub(),
        spec: spec(),
        state,
        created_at: noon(),
        ended_at: state.is_ended().then(noon),
        failure: (state == JobState::Failed).then(|| "because".to_owned()),
        statistics: JobStatistics {
            devices: 10,
            pending: 1,
            running: 2,
            succeeded: 3,
            failed: 4,
        },
    }
}

fn row(state: DeviceJobState, outcome: Option<DeviceJobOutcome>) -> DeviceJob {
    DeviceJob {
        job: JobKey(7),
        job_id: spec().id,
        kind: JobKind::UpdateTwin,
        device: DeviceKey(i64::MAX),
        name: IdentityName {
            device: "dev".parse().unwrap(),
            module: Some("mod".parse().unwrap()),
        },
        state,
        created_at: noon(),
        updated_at: noon() + Duration::from_secs(1),
        started_at: outcome.as_ref().map(|_| noon()),
        ended_at: outcome.as_ref().map(|_| noon()),
        outcome,
    }
}

fn rows() -> Vec<DeviceJob> {
    let answer = DeviceJobOutcome::Answered {
        status: -1,
        payload: Bytes::from_static(b"{}"),
    };
    let failure = DeviceJobOutcome::failed(ErrorCode::DeviceNotOnline, &"off");
    vec![
        row(DeviceJobState::Pending, None),
        row(DeviceJobState::Running, None),
        row(DeviceJobState::Canceled, None),
        row(DeviceJobState::Completed, Some(DeviceJobOutcome::Updated)),
        row(DeviceJobState::Completed, Some(answer)),
        row(DeviceJobState::Failed, Some(failure)),
    ]
}

/// Writes down what it is asked and answers with every kind of job there is.
#[derive(Default)]
struct Scribe {
    asked: Mutex<Vec<String>>,
}

impl Scribe {
    fn note(&self, asked: impl std::fmt::Debug) {
        self.asked.lock().push(format!("{asked:?}"));
    }
}

#[async_trait]
impl FleetApi for Scribe {
    async fn create_job(&self, hub: HubName, spec: JobSpec, by: Actor) -> Result<Job, PeerError> {
        self.note((hub, spec, by));
        Ok(job(JobState::Scheduled))
    }

    async fn find_job(&self, hub: HubName, id: JobId) -> Result<Option<Job>, PeerError> {
        self.note((&hub, &id));
        Ok((id.as_str() == "job-1").then(|| job(JobState::Running)))
    }

    async fn list_jobs(
        &self,
        hub: HubName,
        filter: JobFilter,
        after: Option<JobKey>,
        limit: u32,
    ) -> Result<Vec<Job>, PeerError> {
        self.note((hub, filter, after, limit));
        Ok(JobState::ALL.iter().copied().map(job).collect())
    }

    async fn cancel_job(&self, hub: HubName, id: JobId, by: Actor) -> Result<Job, PeerError> {
        self.note((hub, id, by));
        let error = JobError::NotCancellable(JobState::Completed);
        Err(PeerError::refused(error.code(), &error))
    }

    async fn list_device_jobs(
        &self,
        hub: HubName,
        job: Option<JobId>,
        after: Option<DeviceJobPlace>,
        limit: u32,
    ) -> Result<Vec<DeviceJob>, PeerError> {
        self.note((hub, job, after, limit));
        Ok(rows())
    }
}

fn start() -> (Arc<Scribe>, GrpcTwinClient, Lifecycle) {
    let lifecycle = Lifecycle::new();
    let scribe = Arc::new(Scribe::default());
    let (endpoint, acceptor) = in_process();
    Services::new(&lifecycle)
        .with_fleet(scribe.clone())
        .serve(acceptor);
    let client = GrpcTwinClient::new(&endpoint, MuxOptions::default(), &lifecycle);
    (scribe, client, lifecycle)
}

#[tokio::test]
async fn jobs_and_their_rows_arrive_whole() {
    let (scribe, client, _lifecycle) = start();
    let created = client.create_job(hub(), spec(), somebody()).await;
    assert_eq!(created, Ok(job(JobState::Scheduled)));
    let found = client.find_job(hub(), "job-1".parse().unwrap()).await;
    assert_eq!(found, Ok(Some(job(JobState::Running))));
    let found = client.find_job(hub(), "job-2".parse().unwrap()).await;
    assert_eq!(found, Ok(None));
    let filter = JobFilter {
        kind: Some(JobKind::UpdateTwin),
        state: Some(JobState::Cancelled),
    };
    let listed = client.list_jobs(hub(), filter, Some(JobKey(3)), 9).await;
    assert_eq!(listed.map(|jobs| jobs.len()), Ok(JobState::ALL.len()));
    let place = DeviceJobPlace {
        job: JobKey(1),
        device: DeviceKey(2),
    };
    let id: JobId = "job-1".parse().unwrap();
    let listed = client.list_device_jobs(hub(), Some(id.clone()), Some(place), 1000);
    assert_eq!(listed.await, Ok(rows()));
    let asked = scribe.asked.lock().clone();
    let expected = [
        format!("{:?}", (hub(), spec(), somebody())),
        format!("{:?}", (hub(), "job-1".parse::<JobId>().unwrap())),
        format!("{:?}", (hub(), "job-2".parse::<JobId>().unwrap())),
        format!("{:?}", (hub(), filter, Some(JobKey(3)), 9)),
        format!("{:?}", (hub(), Some(id), Some(place), 1000)),
    ];
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn refusals_keep_their_codes_and_bounds_are_checked() {
    let (scribe, client, _lifecycle) = start();
    let id: JobId = "job-1".parse().unwrap();
    let refused = client.cancel_job(hub(), id, somebody()).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::OperationNotAllowedInCurrentState);
    assert_eq!(
        refused.to_string(),
        "the job is completed, which cannot be cancelled"
    );
    for limit in [0, 1001] {
        let refused = client.list_jobs(hub(), JobFilter::default(), None, limit);
        assert_eq!(
            refused.await.unwrap_err().code(),
            ErrorCode::ArgumentInvalid
        );
        let refused = client.list_device_jobs(hub(), None, None, limit);
        assert_eq!(
            refused.await.unwrap_err().code(),
            ErrorCode::ArgumentInvalid
        );
    }
    let long = JobSpec {
        condition: "\u{10ffff}".repeat(downlink_domain::caps::MAX_CONDITION_CHARS + 1),
        ..spec()
    };
    let refused = client.create_job(hub(), long, somebody()).await;
    assert_eq!(refused.unwrap_err().code(), ErrorCode::ArgumentInvalid);
    assert_eq!(scribe.asked.lock().len(), 1);
}
