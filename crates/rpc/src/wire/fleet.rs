//! Jobs and their identities.

use std::time::Duration;

use downlink_domain::caps;
use downlink_domain::id::{DeviceKey, IdentityName};
use downlink_domain::job::{
    DeviceJob, DeviceJobError, DeviceJobOutcome, DeviceJobState, Job, JobKey, JobKind, JobSpec,
    JobState, JobStatistics,
};
use downlink_domain::{ErrorCode, Timestamp};
use downlink_proto::v1;
use downlink_proto::v1::device_job::Outcome;

use super::{FromWire, ToWire, WireError, instant, object_from_wire, object_to_wire, present};

/// Longest texts, in bytes.
const MAX_CONDITION_BYTES: usize = 4 * caps::MAX_CONDITION_CHARS;
const MAX_FAILURE_BYTES: usize = 4 * 1024;
const MAX_DESCRIPTION_BYTES: usize = 1024;

impl ToWire for JobKind {
    type Wire = v1::JobKind;

    fn to_wire(self) -> v1::JobKind {
        match self {
            Self::UpdateTwin => v1::JobKind::UpdateTwin,
            Self::DeviceMethod => v1::JobKind::DeviceMethod,
        }
    }
}

impl ToWire for JobState {
    type Wire = v1::JobState;

    fn to_wire(self) -> v1::JobState {
        match self {
            Self::Queued => v1::JobState::Queued,
            Self::Scheduled => v1::JobState::Scheduled,
            Self::Running => v1::JobState::Running,
            Self::Completed => v1::JobState::Completed,
            Self::Failed => v1::JobState::Failed,
            Self::Cancelled => v1::JobState::Cancelled,
        }
    }
}

/// The kind of that number.
pub(crate) fn kind_of(number: i32) -> Result<JobKind, WireError> {
    match v1::JobKind::try_from(number) {
        Ok(v1::JobKind::UpdateTwin) => Ok(JobKind::UpdateTwin),
        Ok(v1::JobKind::DeviceMethod) => Ok(JobKind::DeviceMethod),
        Ok(v1::JobKind::Unspecified) | Err(_) => Err(WireError::Unknown("kind")),
    }
}

/// The state of that number.
pub(crate) fn state_of(number: i32) -> Result<JobState, WireError> {
    match v1::JobState::try_from(number) {
        Ok(v1::JobState::Queued) => Ok(JobState::Queued),
        Ok(v1::JobState::Scheduled) => Ok(JobState::Scheduled),
        Ok(v1::JobState::Running) => Ok(JobState::Running),
        Ok(v1::JobState::Completed) => Ok(JobState::Completed),
        Ok(v1::JobState::Failed) => Ok(JobState::Failed),
        Ok(v1::JobState::Cancelled) => Ok(JobState::Cancelled),
        Ok(v1::JobState::Unspecified) | Err(_) => Err(WireError::Unknown("state")),
    }
}

fn device_state_of(number: i32) -> Result<DeviceJobState, WireError> {
    match v1::DeviceJobState::try_from(number) {
        Ok(v1::DeviceJobState::Pending) => Ok(DeviceJobState::Pending),
        Ok(v1::DeviceJobState::Running) => Ok(DeviceJobState::Running),
        Ok(v1::DeviceJobState::Completed) => Ok(DeviceJobState::Completed),
        Ok(v1::DeviceJobState::Failed) => Ok(DeviceJobState::Failed),
        Ok(v1::DeviceJobState::Canceled) => Ok(DeviceJobState::Canceled),
        Ok(v1::DeviceJobState::Unspecified) | Err(_) => Err(WireError::Unknown("state")),
    }
}

impl ToWire for DeviceJobState {
    type Wire = v1::DeviceJobState;

    fn to_wire(self) -> v1::DeviceJobState {
        match self {
            Self::Pending => v1::DeviceJobState::Pending,
            Self::Running => v1::DeviceJobState::Running,
            Self::Completed => v1::DeviceJobState::Completed,
            Self::Failed => v1::DeviceJobState::Failed,
            Self::Canceled => v1::DeviceJobState::Canceled,
        }
    }
}

impl ToWire for JobSpec {
    type Wire = v1::JobSpec;

    fn to_wire(self) -> v1::JobSpec {
        v1::JobSpec {
            id: self.id.to_string(),
            kind: self.kind.to_wire().into(),
            condition: self.condition,
            work: object_to_wire(&self.work),
            start_at: self.start_at.as_millis(),
            max_execution_millis: u64::try_from(self.max_execution.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl FromWire<v1::JobSpec> for JobSpec {
    fn from_wire(wire: v1::JobSpec) -> Result<Self, WireError> {
        if wire.condition.len() > MAX_CONDITION_BYTES {
            return Err(WireError::OutOfRange("condition"));
        }
        if wire.work.len() > caps::MAX_JOB_WORK_BYTES {
            return Err(WireError::OutOfRange("work"));
        }
        Ok(Self {
            id: wire.id.parse()?,
            kind: kind_of(wire.kind)?,
            condition: wire.condition,
            work: object_from_wire("work", &wire.work)?,
            start_at: instant("start_at", wire.start_at)?,
            max_execution: Duration::from_millis(wire.max_execution_millis),
        })
    }
}

impl ToWire for Job {
    type Wire = v1::Job;

    fn to_wire(self) -> v1::Job {
        v1::Job {
            key: self.key.0,
            hub: self.hub.to_string(),
            spec: Some(self.spec.to_wire()),
            state: self.state.to_wire().into(),
            created_at: self.created_at.as_millis(),
            ended_at: self.ended_at.map(Timestamp::as_millis),
            failure: self.failure,
            device_count: self.statistics.devices,
            pending_count: self.statistics.pending,
            running_count: self.statistics.running,
            succeeded_count: self.statistics.succeeded,
            failed_count: self.statistics.failed,
        }
    }
}

impl FromWire<v1::Job> for Job {
    fn from_wire(wire: v1::Job) -> Result<Self, WireError> {
        let is_long = |text: &String| text.len() > MAX_FAILURE_BYTES;
        if wire.failure.as_ref().is_some_and(is_long) {
            return Err(WireError::OutOfRange("failure"));
        }
        Ok(Self {
            key: JobKey(wire.key),
            hub: wire.hub.parse()?,
            spec: present("spec", wire.spec).and_then(JobSpec::from_wire)?,
            state: state_of(wire.state)?,
            created_at: instant("created_at", wire.created_at)?,
            ended_at: optional("ended_at", wire.ended_at)?,
            failure: wire.failure,
            statistics: JobStatistics {
                devices: wire.device_count,
                pending: wire.pending_count,
                running: wire.running_count,
                succeeded: wire.succeeded_count,
                failed: wire.failed_count,
            },
        })
    }
}

fn optional(field: &'static str, millis: Option<i64>) -> Result<Option<Timestamp>, WireError> {
    millis.map(|millis| instant(field, millis)).transpose()
}

impl ToWire for DeviceJob {
    type Wire = v1::DeviceJob;

    fn to_wire(self) -> v1::DeviceJob {
        v1::DeviceJob {
            job_key: self.job.0,
            job_id: self.job_id.to_string(),
            kind: self.kind.to_wire().into(),
            device_key: self.device.0,
            name: Some(self.name.to_wire()),
            state: self.state.to_wire().into(),
            created_at: self.created_at.as_millis(),
            updated_at: self.updated_at.as_millis(),
            started_at: self.started_at.map(Timestamp::as_millis),
            ended_at: self.ended_at.map(Timestamp::as_millis),
            outcome: self.outcome.map(ToWire::to_wire),
        }
    }
}

impl FromWire<v1::DeviceJob> for DeviceJob {
    fn from_wire(wire: v1::DeviceJob) -> Result<Self, WireError> {
        Ok(Self {
            job: JobKey(wire.job_key),
            job_id: wire.job_id.parse()?,
            kind: kind_of(wire.kind)?,
            device: DeviceKey(wire.device_key),
            name: IdentityName::from_wire(wire.name)?,
            state: device_state_of(wire.state)?,
            created_at: instant("created_at", wire.created_at)?,
            updated_at: instant("updated_at", wire.updated_at)?,
            started_at: optional("started_at", wire.started_at)?,
            ended_at: optional("ended_at", wire.ended_at)?,
            outcome: wire.outcome.map(DeviceJobOutcome::from_wire).transpose()?,
        })
    }
}

impl ToWire for DeviceJobOutcome {
    type Wire = Outcome;

    fn to_wire(self) -> Outcome {
        match self {
            Self::Updated => Outcome::Updated(true),
            Self::Answered { status, payload } => {
                Outcome::Answer(v1::MethodAnswer { status, payload })
            }
            Self::Failed(error) => Outcome::Error(v1::DeviceJobError {
                code: error.code.number(),
                description: error.description,
            }),
        }
    }
}

impl FromWire<Outcome> for DeviceJobOutcome {
    fn from_wire(wire: Outcome) -> Result<Self, WireError> {
        Ok(match wire {
            Outcome::Updated(_) => Self::Updated,
            Outcome::Answer(answer) if answer.payload.len() <= caps::MAX_METHOD_BYTES => {
                Self::Answered {
                    status: answer.status,
                    payload: answer.payload,
                }
            }
            Outcome::Answer(_) => return Err(WireError::OutOfRange("payload")),
            Outcome::Error(error) if error.description.len() <= MAX_DESCRIPTION_BYTES => {
                let code = ErrorCode::from_number(error.code);
                Self::Failed(DeviceJobError {
                    code: code.ok_or(WireError::Unknown("code"))?,
                    description: error.description,
                })
            }
            Outcome::Error(_) => return Err(WireError::OutOfRange("description")),
        })
    }
}
