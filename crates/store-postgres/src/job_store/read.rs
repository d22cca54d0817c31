//! Jobs and their identities read.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::ErrorCode;
use downlink_domain::id::{DeviceKey, HubName, IdentityName, JobId};
use downlink_domain::job::{
    DeviceJob, DeviceJobError, DeviceJobOutcome, DeviceJobState, Job, JobKey, JobKind, JobSpec,
    JobState, JobStatistics,
};
use downlink_ports::{DeviceJobPlace, JobFilter, StoreError};
use sqlx::postgres::PgRow;

use crate::error::Failure;
use crate::fields::Fields;
use crate::retry::{Extent, Repeat, Work};
use crate::session::Session;

pub(super) struct FindJob {
    pub(super) hub: HubName,
    pub(super) id: JobId,
}

#[async_trait]
impl Work for FindJob {
    type Answer = Option<Job>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        Ok(find(connection, &self.hub, &self.id).await?)
    }
}

/// The job of that name.
pub(super) async fn find(
    connection: &mut Session<'_>,
    hub: &HubName,
    id: &JobId,
) -> Result<Option<Job>, Failure> {
    let row = sqlx::query(include_str!("../../queries/find_job.sql"))
        .bind(hub.as_str())
        .bind(id.as_str())
        .fetch_optional(connection)
        .await?;
    Ok(row.as_ref().map(job).transpose()?)
}

pub(super) struct ListJobs {
    pub(super) hub: HubName,
    pub(super) filter: JobFilter,
    pub(super) after: Option<JobKey>,
    pub(super) limit: u32,
}

#[async_trait]
impl Work for ListJobs {
    type Answer = Vec<Job>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let rows = sqlx::query(include_str!("../../queries/list_jobs.sql"))
            .bind(self.hub.as_str())
            .bind(self.after.map_or(i64::MIN, |key| key.0))
            .bind(self.filter.kind.map(JobKind::as_str))
            .bind(self.filter.state.map(JobState::as_str))
            .bind(i64::from(self.limit))
            .fetch_all(connection)
            .await?;
        let jobs: Result<_, StoreError> = rows.iter().map(job).collect();
        Ok(jobs?)
    }
}

pub(super) struct ListDeviceJobs {
    pub(super) hub: HubName,
    pub(super) job: Option<JobKey>,
    pub(super) after: Option<DeviceJobPlace>,
    pub(super) limit: u32,
}

#[async_trait]
impl Work for ListDeviceJobs {
    type Answer = Vec<DeviceJob>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        // The place before the first of one job is the last there can be of the job before it.
        let first = self.job.map(|job| (job.0.saturating_sub(1), i64::MAX));
        let after = self.after.map(|place| (place.job.0, place.device.0));
        let (job, device) = first.max(after).unwrap_or((i64::MIN, i64::MIN));
        let rows = sqlx::query(include_str!("../../queries/list_device_jobs.sql"))
            .bind(self.hub.as_str())
            .bind(job)
            .bind(device)
            .bind(self.job.map_or(i64::MAX, |job| job.0))
            .bind(i64::from(self.limit))
            .fetch_all(connection)
            .await?;
        let jobs: Result<_, StoreError> = rows.iter().map(device_job).collect();
        Ok(jobs?)
    }
}

/// Reads a row of `jobs`.
pub(super) fn job(row: &PgRow) -> Result<Job, StoreError> {
    let row = Fields::new(row, "jobs", "job_key");
    Ok(Job {
        key: JobKey(row.get("job_key")?),
        hub: row.text("hub")?,
        spec: JobSpec {
            id: row.text("job_id")?,
            kind: row.parse("kind", JobKind::parse)?,
            condition: row.get("condition")?,
            work: row.json("work")?,
            start_at: row.instant("start_at")?,
            max_execution: Duration::from_millis(row.number("max_execution")?),
        },
        state: row.parse("state", JobState::parse)?,
        created_at: row.instant("created_at")?,
        ended_at: row.optional_instant("ended_at")?,
        failure: row.get("failure")?,
        statistics: JobStatistics {
            devices: row.number("device_count")?,
            pending: row.number("pending_count")?,
            running: row.number("running_count")?,
            succeeded: row.number("succeeded_count")?,
            failed: row.number("failed_count")?,
        },
    })
}

fn device_job(row: &PgRow) -> Result<DeviceJob, StoreError> {
    let row = Fields::new(row, "device_jobs", "device_key");
    let state = row.parse("state", DeviceJobState::parse)?;
    Ok(DeviceJob {
        job: JobKey(row.get("job_key")?),
        job_id: row.text("job_id")?,
        kind: row.parse("kind", JobKind::parse)?,
        device: DeviceKey(row.get("device_key")?),
        name: name(&row)?,
        state,
        created_at: row.instant("created_at")?,
        updated_at: row.instant("updated_at")?,
        started_at: row.optional_instant("started_at")?,
        ended_at: row.optional_instant("ended_at")?,
        outcome: outcome(&row, state)?,
    })
}

/// The identity that a row names.
pub(super) fn name(row: &Fields<'_>) -> Result<IdentityName, StoreError> {
    Ok(IdentityName {
        device: row.text("device_id")?,
        module: row.parse("module_id", |text: &str| match text {
            "" => Some(None),
            text => text.parse().ok().map(Some),
        })?,
    })
}

fn outcome(
    row: &Fields<'_>,
    state: DeviceJobState,
) -> Result<Option<DeviceJobOutcome>, StoreError> {
    Ok(match state {
        DeviceJobState::Pending | DeviceJobState::Running | DeviceJobState::Canceled => None,
        DeviceJobState::Failed => Some(DeviceJobOutcome::Failed(DeviceJobError {
            code: row.parse("error_code", |number: i32| {
                ErrorCode::from_number(u32::try_from(number).ok()?)
            })?,
            description: row.get("error_text")?,
        })),
        DeviceJobState::Completed => {
            let status: Option<i32> = row.get("answer_status")?;
            let payload: Option<Vec<u8>> = row.get("answer_payload")?;
            Some(match status {
                None => DeviceJobOutcome::Updated,
                Some(status) => DeviceJobOutcome::Answered {
                    status,
                    payload: payload.map_or_else(Bytes::new, Bytes::from),
                },
            })
        }
    })
}
