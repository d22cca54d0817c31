//! Jobs and their identities read.

use std::time::Duration;

use bytes::Bytes;
use downlink_domain::ErrorCode;
use downlink_domain::id::{DeviceKey, HubName, IdentityName, JobId};
use downlink_domain::job::{
    DeviceJob, DeviceJobError, DeviceJobOutcome, DeviceJobState, Job, JobKey, JobKind, JobSpec,
    JobState, JobStatistics,
};
use downlink_ports::StoreError;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::error::store_error;
use crate::fields::Fields;

/// The job of that name.
pub(super) async fn find(
    connection: &mut SqliteConnection,
    hub: &HubName,
    id: &JobId,
) -> Result<Option<Job>, StoreError> {
    let row = sqlx::query("SELECT * FROM jobs WHERE hub = ? AND job_id = ?")
        .bind(hub.as_str())
        .bind(id.as_str())
        .fetch_optional(connection)
        .await
        .map_err(store_error)?;
    row.as_ref().map(job).transpose()
}

/// Reads a row of `jobs`.
pub(super) fn job(row: &SqliteRow) -> Result<Job, StoreError> {
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

pub(super) fn device_job(row: &SqliteRow) -> Result<DeviceJob, StoreError> {
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
