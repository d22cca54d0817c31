//! What the runner of a job writes. Its first statement renews the claim, if it is still the newest.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::{DeviceKey, IdentityName};
use downlink_domain::job::{DeviceJobOutcome, DeviceJobState, JobKey, JobKind, JobState};
use downlink_ports::{ClaimedJob, FoundTargets, JobClaim, JobEnd, JobProgress, StoreError};

use super::read::{job, name};
use crate::error::store_error;
use crate::fields::{Fields, stored};
use crate::statements::{END_DEVICE_JOBS, INSERT_DEVICE_JOBS};
use crate::writer::{Scope, Work};

/// What an earlier runner had begun waits again.
const REOPEN: &str = "UPDATE device_jobs SET state = 'pending', started_at = NULL, updated_at = ?2
    WHERE job_key = ?1 AND state = 'running' AND ended_at IS NULL";
/// What an earlier runner had begun has failed.
const FAIL: &str = "UPDATE device_jobs
    SET state = 'failed', updated_at = ?2, ended_at = ?2, error_code = ?3, error_text = ?4
    WHERE job_key = ?1 AND state = 'running' AND ended_at IS NULL";
/// Renews a claim that is still the newest.
const HOLD: &str =
    "UPDATE jobs SET due_at = ?3 WHERE job_key = ?1 AND epoch = ?2 AND state = 'running'";

pub(super) struct ClaimJob {
    pub(super) until: Timestamp,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for ClaimJob {
    type Answer = Option<ClaimedJob>;

    async fn run(self, scope: &mut Scope<'_>) -> Result<Self::Answer, StoreError> {
        let row = sqlx::query(include_str!("../../queries/claim_job.sql"))
            .bind(self.now.as_millis())
            .bind(self.until.as_millis())
            .fetch_optional(&mut *scope.connection)
            .await
            .map_err(store_error)?;
        let Some(row) = row else {
            return Ok(None);
        };
        let fields = Fields::new(&row, "jobs", "job_key");
        let mut claimed = ClaimedJob {
            claim: JobClaim {
                job: JobKey(fields.get("job_key")?),
                epoch: fields.number("epoch")?,
            },
            job: job(&row)?,
            is_targeted: fields.get("is_targeted")?,
            cursor: fields.get::<Option<i64>>("found_up_to")?.map(DeviceKey),
        };
        if claimed.job.statistics.running > 0 {
            claimed.job = self.end_earlier(scope, &claimed).await?;
        }
        Ok(Some(claimed))
    }
}

impl ClaimJob {
    /// Settles what the runner before had begun.
    async fn end_earlier(
        &self,
        scope: &mut Scope<'_>,
        claimed: &ClaimedJob,
    ) -> Result<downlink_domain::job::Job, StoreError> {
        let key = claimed.claim.job;
        let now = self.now.as_millis();
        let settling = match claimed.job.spec.kind {
            JobKind::UpdateTwin => {
                let sql = REOPEN;
                sqlx::query(sql).bind(key.0).bind(now)
            }
            JobKind::DeviceMethod => {
                let (code, text) = lost();
                let sql = FAIL;
                sqlx::query(sql).bind(key.0).bind(now).bind(code).bind(text)
            }
        };
        let settled = settling
            .execute(&mut *scope.connection)
            .await
            .map_err(store_error)?
            .rows_affected();
        let settled = stored(settled);
        let moves = match claimed.job.spec.kind {
            JobKind::UpdateTwin => [settled, -settled, 0, 0],
            JobKind::DeviceMethod => [0, -settled, 0, settled],
        };
        let row = count(scope, key, moves).await?;
        job(&row)
    }
}

fn lost() -> (Option<i32>, Option<String>) {
    match DeviceJobOutcome::lost() {
        DeviceJobOutcome::Failed(error) => (number_of(&error), Some(error.description)),
        DeviceJobOutcome::Updated | DeviceJobOutcome::Answered { .. } => (None, None),
    }
}

fn number_of(error: &downlink_domain::job::DeviceJobError) -> Option<i32> {
    i32::try_from(error.code.number()).ok()
}

/// Renews a claim; whether it is still the newest.
async fn hold(
    scope: &mut Scope<'_>,
    claim: JobClaim,
    until: Timestamp,
) -> Result<bool, StoreError> {
    let held = sqlx::query(HOLD)
        .bind(claim.job.0)
        .bind(stored(claim.epoch))
        .bind(until.as_millis())
        .execute(&mut *scope.connection)
        .await
        .map_err(store_error)?;
    Ok(held.rows_affected() == 1)
}

/// Moves pending, running, succeeded and failed.
async fn count(
    scope: &mut Scope<'_>,
    job: JobKey,
    moves: [i64; 4],
) -> Result<sqlx::sqlite::SqliteRow, StoreError> {
    let counted = moves.into_iter().fold(
        sqlx::query(include_str!("../../queries/count_job.sql")).bind(job.0),
        sqlx::query::Query::bind,
    );
    counted
        .fetch_one(&mut *scope.connection)
        .await
        .map_err(store_error)
}

async fn measure(scope: &mut Scope<'_>, job: JobKey) -> Result<JobProgress, StoreError> {
    let row = sqlx::query(include_str!("../../queries/measure_job.sql"))
        .bind(job.0)
        .fetch_one(&mut *scope.connection)
        .await
        .map_err(store_error)?;
    let row = Fields::new(&row, "jobs", "job_key");
    Ok(JobProgress {
        pending: row.number("pending_count")?,
        running: row.number("running_count")?,
        running_jobs: row.number("running_jobs")?,
    })
}

pub(super) struct AddTargets {
    pub(super) claim: JobClaim,
    pub(super) found: FoundTargets,
    pub(super) until: Timestamp,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for AddTargets {
    type Answer = Option<JobProgress>;

    async fn run(self, scope: &mut Scope<'_>) -> Result<Self::Answer, StoreError> {
        let job = self.claim.job;
        if !hold(scope, self.claim, self.until).await? {
            return Ok(None);
        }
        let now = self.now.as_millis();
        let added = INSERT_DEVICE_JOBS
            .execute(
                scope.connection,
                self.found.targets,
                |query, (key, name)| {
                    let module = name.module.as_ref().map_or("", |module| module.as_str());
                    query
                        .bind(job.0)
                        .bind(key.0)
                        .bind(name.device.as_str().to_owned())
                        .bind(module.to_owned())
                        .bind(now)
                },
            )
            .await
            .map_err(store_error)?;
        sqlx::query(include_str!("../../queries/note_targets.sql"))
            .bind(job.0)
            .bind(self.found.next.map(|key| key.0))
            .bind(self.found.next.is_none())
            .bind(stored(added))
            .execute(&mut *scope.connection)
            .await
            .map_err(store_error)?;
        measure(scope, job).await.map(Some)
    }
}

pub(super) struct BeginDeviceJobs {
    pub(super) claim: JobClaim,
    pub(super) limit: u32,
    pub(super) until: Timestamp,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for BeginDeviceJobs {
    type Answer = Option<Vec<(DeviceKey, IdentityName)>>;

    async fn run(self, scope: &mut Scope<'_>) -> Result<Self::Answer, StoreError> {
        if !hold(scope, self.claim, self.until).await? {
            return Ok(None);
        }
        let rows = sqlx::query(include_str!("../../queries/begin_device_jobs.sql"))
            .bind(self.claim.job.0)
            .bind(i64::from(self.limit))
            .bind(self.now.as_millis())
            .fetch_all(&mut *scope.connection)
            .await
            .map_err(store_error)?;
        let begun = rows.iter().map(|row| {
            let row = Fields::new(row, "device_jobs", "device_key");
            Ok((DeviceKey(row.get("device_key")?), name(&row)?))
        });
        let mut begun = begun.collect::<Result<Vec<_>, StoreError>>()?;
        begun.sort_unstable_by_key(|(key, _)| *key);
        let number = stored(begun.len() as u64);
        count(scope, self.claim.job, [-number, number, 0, 0]).await?;
        Ok(Some(begun))
    }
}

pub(super) struct EndDeviceJobs {
    pub(super) claim: JobClaim,
    pub(super) outcomes: Vec<(DeviceKey, DeviceJobOutcome)>,
    pub(super) until: Timestamp,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for EndDeviceJobs {
    type Answer = Option<JobProgress>;

    async fn run(self, scope: &mut Scope<'_>) -> Result<Self::Answer, StoreError> {
        let job = self.claim.job;
        if !hold(scope, self.claim, self.until).await? {
            return Ok(None);
        }
        // An outcome changes one row or none, so what is left of its kind counts.
        let (done, failed): (Vec<_>, Vec<_>) = self
            .outcomes
            .into_iter()
            .partition(|(_, outcome)| outcome.state() == DeviceJobState::Completed);
        let done = stored(write(scope, job, done, self.now).await?);
        let failed = stored(write(scope, job, failed, self.now).await?);
        if done + failed > 0 {
            count(scope, job, [0, -done - failed, done, failed]).await?;
        }
        measure(scope, job).await.map(Some)
    }
}

/// Writes outcomes; how many there were to write.
async fn write(
    scope: &mut Scope<'_>,
    job: JobKey,
    outcomes: Vec<(DeviceKey, DeviceJobOutcome)>,
    now: Timestamp,
) -> Result<u64, StoreError> {
    let written = END_DEVICE_JOBS.execute(scope.connection, outcomes, |query, (key, outcome)| {
        let query = query.bind(job.0).bind(key.0);
        let query = query.bind(outcome.state().as_str()).bind(now.as_millis());
        let (status, payload, code, text) = match outcome {
            DeviceJobOutcome::Updated => (None, None, None, None),
            DeviceJobOutcome::Answered { status, payload } => {
                (Some(status), Some(payload.to_vec()), None, None)
            }
            DeviceJobOutcome::Failed(error) => {
                (None, None, number_of(&error), Some(error.description))
            }
        };
        query.bind(status).bind(payload).bind(code).bind(text)
    });
    written.await.map_err(store_error)
}

pub(super) struct ReleaseJob {
    pub(super) claim: JobClaim,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for ReleaseJob {
    type Answer = ();

    async fn run(self, scope: &mut Scope<'_>) -> Result<(), StoreError> {
        hold(scope, self.claim, self.now).await.map(drop)
    }
}

pub(super) struct EndJob {
    pub(super) claim: JobClaim,
    pub(super) end: JobEnd,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for EndJob {
    type Answer = Option<()>;

    async fn run(self, scope: &mut Scope<'_>) -> Result<Self::Answer, StoreError> {
        let (state, failure) = match &self.end {
            JobEnd::Completed => (JobState::Completed, None),
            JobEnd::Failed(reason) => (JobState::Failed, Some(reason)),
        };
        let ended = sqlx::query(include_str!("../../queries/end_job.sql"))
            .bind(self.claim.job.0)
            .bind(stored(self.claim.epoch))
            .bind(state.as_str())
            .bind(failure)
            .bind(self.now.as_millis())
            .execute(&mut *scope.connection)
            .await
            .map_err(store_error)?;
        Ok((ended.rows_affected() == 1).then_some(()))
    }
}
