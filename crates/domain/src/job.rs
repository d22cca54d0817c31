//! Jobs: one twin update or one method call for all identities that a condition names
//! (registry.md §6).

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use thiserror::Error;

use crate::caps;
use crate::code::ErrorCode;
use crate::device::IfMatch;
use crate::id::{DeviceKey, HubName, IdentityName, JobId};
use crate::method::{MethodName, MethodTimeouts};
use crate::time::Timestamp;
use crate::twin::{Object, TwinChange};

mod order;
#[cfg(test)]
mod tests;

pub use order::JobOrder;

macro_rules! named {
    ($(#[$doc:meta])* $kind:ident { $($(#[$variant_doc:meta])* $name:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $kind {
            $($(#[$variant_doc])* $name,)*
        }

        impl $kind {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name on the wire and in the store.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Reads the name, whatever the case of its letters (registry.md §6.4).
            pub fn parse(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str().eq_ignore_ascii_case(name))
            }
        }
    };
}

named! {
    /// What a job does to each identity.
    JobKind {
        /// Patches its twin.
        UpdateTwin = "scheduleUpdateTwin",
        /// Calls a method of it.
        DeviceMethod = "scheduleDeviceMethod",
    }
}

named! {
    /// Where a job stands (registry.md §6.3).
    JobState {
        /// It is due and waits for a runner.
        Queued = "queued",
        /// Its start is in the future.
        Scheduled = "scheduled",
        /// A runner has it, or had it and the next takes it over.
        Running = "running",
        /// Every identity has its outcome.
        Completed = "completed",
        /// Its condition could not be evaluated.
        Failed = "failed",
        /// It was cancelled before it started.
        Cancelled = "cancelled",
    }
}

named! {
    /// Where a job stands with one identity (registry.md §5.3).
    DeviceJobState {
        /// Its turn has not come.
        Pending = "pending",
        /// It is being done.
        Running = "running",
        /// It was done.
        Completed = "completed",
        /// It was refused, or its outcome is not known.
        Failed = "failed",
        /// The job was cancelled before its turn.
        Canceled = "canceled",
    }
}

impl JobState {
    /// Whether nothing more happens.
    pub const fn is_ended(self) -> bool {
        match self {
            Self::Queued | Self::Scheduled | Self::Running => false,
            Self::Completed | Self::Failed | Self::Cancelled => true,
        }
    }
}

/// The internal number of a job, never used again; rises with creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey(pub i64);

/// A job that is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct JobSpec {
    /// Its name in the hub.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// For whom: a condition of the query language, at most
    /// [`caps::MAX_CONDITION_CHARS`] characters. What it means is found out when the job runs.
    pub condition: String,
    /// `updateTwin` or `cloudToDeviceMethod` as it was given, at most
    /// [`caps::MAX_JOB_WORK_BYTES`] as text.
    pub work: Object,
    /// When it starts.
    pub start_at: Timestamp,
    /// How long it may run after its start.
    pub max_execution: Duration,
}

/// How many identities a job concerns, and what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobStatistics {
    /// All of them, as far as they are known.
    pub devices: u64,
    /// Those whose turn has not come.
    pub pending: u64,
    /// Those at work.
    pub running: u64,
    /// Those that are done.
    pub succeeded: u64,
    /// Those that failed.
    pub failed: u64,
}

/// A job.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its internal number.
    pub key: JobKey,
    /// The tenant.
    pub hub: HubName,
    /// What was asked for.
    pub spec: JobSpec,
    /// Where it stands.
    pub state: JobState,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    pub failure: Option<String>,
    /// Counts.
    pub statistics: JobStatistics,
}

/// Why one identity of a job failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceJobError {
    /// Code of the catalogue.
    pub code: ErrorCode,
    /// Text, at most 1 KiB.
    pub description: String,
}

/// What became of one identity of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceJobOutcome {
    /// The twin was patched.
    Updated,
    /// The method was answered.
    Answered {
        /// The device's own number.
        status: i32,
        /// JSON text, empty when there was none.
        payload: Bytes,
    },
    /// It failed.
    Failed(DeviceJobError),
}

/// A job as it concerns one identity: a row of `devices.jobs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceJob {
    /// The job.
    pub job: JobKey,
    /// Its name.
    pub job_id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// The internal key of the identity.
    pub device: DeviceKey,
    /// The identity.
    pub name: IdentityName,
    /// Where it stands.
    pub state: DeviceJobState,
    /// When the identity was found.
    pub created_at: Timestamp,
    /// When the row was written last.
    pub updated_at: Timestamp,
    /// When its turn came.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// What became of it.
    pub outcome: Option<DeviceJobOutcome>,
}

/// Why a job is not created or not cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum JobError {
    /// A field outside its rules.
    #[error("{0}")]
    Invalid(String),
    /// There is one of that name, or was within the time that jobs are remembered.
    #[error("a job with the id {0} exists already")]
    AlreadyExists(JobId),
    /// There is none of that name.
    #[error("there is no job with the id {0}")]
    NotFound(JobId),
    /// The hub has as many jobs that wait or run as it may.
    #[error("the hub has {0} jobs that wait or run, which is the most")]
    TooMany(u32),
    /// Running and ended jobs are not cancelled.
    #[error("the job is {}, which cannot be cancelled", .0.as_str())]
    NotCancellable(JobState),
    /// The tenant does not exist.
    #[error("there is no such hub")]
    NoHub,
}

impl JobError {
    /// The code of the catalogue (registry.md §6.3).
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::ArgumentInvalid,
            Self::AlreadyExists(_) => ErrorCode::JobAlreadyExists,
            Self::NotFound(_) => ErrorCode::JobNotFound,
            Self::TooMany(_) => ErrorCode::ThrottlingMaxActiveJobCountExceeded,
            Self::NotCancellable(_) => ErrorCode::OperationNotAllowedInCurrentState,
            Self::NoHub => ErrorCode::GenericNotFound,
        }
    }
}

impl JobSpec {
    /// Checks what is asked for, at `now`.
    ///
    /// # Errors
    /// [`JobError::Invalid`].
    pub fn check(&self, now: Timestamp) -> Result<JobOrder, JobError> {
        let invalid = |text: &str| Err(JobError::Invalid(text.to_owned()));
        if self.condition.chars().count() > caps::MAX_CONDITION_CHARS {
            return invalid("queryCondition is too long");
        }
        if self.condition.contains('\0') {
            return invalid("queryCondition holds the character U+0000");
        }
        if self.start_at.since(now) > caps::MAX_JOB_DELAY {
            return invalid("startTime is more than 168 hours ahead");
        }
        if self.max_execution.is_zero() || self.max_execution > caps::MAX_JOB_EXECUTION {
            return invalid("maxExecutionTimeInSeconds must be 1 to 604800");
        }
        JobOrder::read(self.kind, &self.work)
    }

    /// The state of a job that is created at `now`.
    pub fn first_state(&self, now: Timestamp) -> JobState {
        if self.start_at > now {
            JobState::Scheduled
        } else {
            JobState::Queued
        }
    }
}

impl DeviceJobOutcome {
    /// The state of a row with this outcome.
    pub fn state(&self) -> DeviceJobState {
        match self {
            Self::Updated | Self::Answered { .. } => DeviceJobState::Completed,
            Self::Failed(_) => DeviceJobState::Failed,
        }
    }

    /// A failure, its text cut to its bound.
    pub fn failed(code: ErrorCode, description: &dyn std::fmt::Display) -> Self {
        const MOST: usize = 1024;
        let mut description = description.to_string();
        description.truncate(description.floor_char_boundary(MOST));
        Self::Failed(DeviceJobError { code, description })
    }

    /// The outcome of what was begun by a runner that ended before it knew more. A method is never
    /// called again for the same job; whether the device did it is not known.
    pub fn lost() -> Self {
        Self::failed(
            ErrorCode::ServiceUnavailable,
            &"the hub stopped before the answer came; the method is not called again",
        )
    }
}

impl Job {
    /// When it may no longer run.
    pub fn ends_at(&self) -> Timestamp {
        self.spec.start_at.max(self.created_at) + self.spec.max_execution
    }
}
