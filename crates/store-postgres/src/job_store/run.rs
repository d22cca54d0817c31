//! What the runner of a job writes. Its first statement renews the claim and holds the job's row,
//! so that whoever takes the job over waits for it or makes it come to nothing.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::{DeviceKey, IdentityName};
use downlink_domain::job::{DeviceJobOutcome, JobKey, JobKind, JobState};
use downlink_ports::{ClaimedJob, FoundTargets, JobClaim, JobEnd, JobProgress, StoreError};

use super::read::{job, name};
use crate::error::Failure;
use crate::fields::{Fields, stored};
use crate::retry::{Extent, Repeat, Work};
use crate::session::Session;

pub(super) struct ClaimJob {
    pub(super) until: Timestamp,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for ClaimJob {
    type Answer = Option<ClaimedJob>;
    const EXTENT: Extent = Extent::Transaction;
    // A claim that nobody knows of lapses; a second one takes another job.
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let row = sqlx::query(include_str!("../../queries/claim_job.sql"))
            .bind(self.now.as_millis())
            .bind(self.until.as_millis())
            .fetch_optional(&mut *connection)
            .await?;
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
            claimed.job = self.end_earlier(connection, &claimed).await?;
        }
        Ok(Some(claimed))
    }
}

impl ClaimJob {
    /// Settles what the runner before had begun.
    async fn end_earlier(
        &self,
        connection: &mut Session<'_>,
        claimed: &ClaimedJob,
    ) -> Result<downlink_domain::job::Job, Failure> {
        let key = claimed.claim.job;
        let now = self.now.as_millis();
        let settling = match claimed.job.spec.kind {
            JobKind::UpdateTwin => {
                let sql = include_str!("../../queries/reopen_device_jobs.sql");
                sqlx::query(sql).bind(key.0).bind(now)
            }
            JobKind::DeviceMethod => {
                let (code, text) = lost();
                let sql = include_str!("../../queries/fail_begun_device_jobs.sql");
                sqlx::query(sql).bind(key.0).bind(now).bind(code).bind(text)
            }
        };
        let settled = settling.execute(&mut *connection).await?.rows_affected();
        let settled = stored(settled);
        let moves = match claimed.job.spec.kind {
            JobKind::UpdateTwin => [settled, -settled, 0, 0],
            JobKind::DeviceMethod => [0, -settled, 0, settled],
        };
        let row = count(connection, key, moves).await?;
        Ok(job(&row)?)
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
    connection: &mut Session<'_>,
    claim: JobClaim,
    until: Timestamp,
) -> Result<bool, Failure> {
    let held = sqlx::query(include_str!("../../queries/hold_job.sql"))
        .bind(claim.job.0)
        .bind(stored(claim.epoch))
        .bind(until.as_millis())
        .execute(connection)
        .await?;
    Ok(held.rows_affected() == 1)
}

/// Moves pending, running, succeeded and failed.
async fn count(
    connection: &mut Session<'_>,
    job: JobKey,
    moves: [i64; 4],
) -> Result<sqlx::postgres::PgRow, Failure> {
    let counted = moves.into_iter().fold(
        sqlx::query(include_str!("../../queries/count_job.sql")).bind(job.0),
        sqlx::query::Query::bind,
    );
    Ok(counted.fetch_one(connection).await?)
}

async fn measure(connection: &mut Session<'_>, job: JobKey) -> Result<JobProgress, Failure> {
    let row = sqlx::query(include_str!("../../queries/measure_job.sql"))
        .bind(job.0)
        .fetch_one(connection)
        .await?;
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
    const EXTENT: Extent = Extent::Transaction;
    // Those that are there already are skipped and not counted.
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let job = self.claim.job;
        if !hold(connection, self.claim, self.until).await? {
            return Ok(None);
        }
        let targets = self.found.targets.iter();
        let keys: Vec<i64> = targets.clone().map(|(key, _)| key.0).collect();
        let devices: Vec<&str> = targets
            .clone()
            .map(|(_, name)| name.device.as_str())
            .collect();
        let modules: Vec<&str> = targets.map(|(_, name)| module_text(name)).collect();
        let added = sqlx::query(include_str!("../../queries/insert_device_jobs.sql"))
            .bind(job.0)
            .bind(self.now.as_millis())
            .bind(keys)
            .bind(devices)
            .bind(modules)
            .execute(&mut *connection)
            .await?;
        sqlx::query(include_str!("../../queries/note_targets.sql"))
            .bind(job.0)
            .bind(self.found.next.map(|key| key.0))
            .bind(self.found.next.is_none())
            .bind(stored(added.rows_affected()))
            .execute(&mut *connection)
            .await?;
        measure(connection, job).await.map(Some)
    }
}

fn module_text(name: &IdentityName) -> &str {
    name.module.as_ref().map_or("", |module| module.as_str())
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
    const EXTENT: Extent = Extent::Transaction;
    // What was begun the first time would be begun by nobody; the next claim settles it.
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        if !hold(connection, self.claim, self.until).await? {
            return Ok(None);
        }
        let rows = sqlx::query(include_str!("../../queries/begin_device_jobs.sql"))
            .bind(self.claim.job.0)
            .bind(i64::from(self.limit))
            .bind(self.now.as_millis())
            .fetch_all(&mut *connection)
            .await?;
        let begun = rows.iter().map(|row| {
            let row = Fields::new(row, "device_jobs", "device_key");
            Ok((DeviceKey(row.get("device_key")?), name(&row)?))
        });
        let mut begun = begun.collect::<Result<Vec<_>, StoreError>>()?;
        begun.sort_unstable_by_key(|(key, _)| *key);
        let number = stored(begun.len() as u64);
        count(connection, self.claim.job, [-number, number, 0, 0]).await?;
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
    const EXTENT: Extent = Extent::Transaction;
    // An outcome that is there already is neither written nor counted again.
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let job = self.claim.job;
        if !hold(connection, self.claim, self.until).await? {
            return Ok(None);
        }
        if !self.outcomes.is_empty() {
            let row = self.write(connection).await?;
            let row = Fields::new(&row, "device_jobs", "succeeded");
            let (succeeded, failed): (i64, i64) = (row.get("succeeded")?, row.get("failed")?);
            let ended = succeeded + failed;
            count(connection, job, [0, -ended, succeeded, failed]).await?;
        }
        measure(connection, job).await.map(Some)
    }
}

impl EndDeviceJobs {
    async fn write(&self, connection: &mut Session<'_>) -> sqlx::Result<sqlx::postgres::PgRow> {
        let outcomes = self.outcomes.iter();
        let keys: Vec<i64> = outcomes.clone().map(|(key, _)| key.0).collect();
        let states: Vec<&str> = outcomes
            .clone()
            .map(|(_, outcome)| outcome.state().as_str())
            .collect();
        let answers = outcomes.clone().map(|(_, outcome)| match outcome {
            DeviceJobOutcome::Answered { status, payload } => (Some(*status), Some(&payload[..])),
            DeviceJobOutcome::Updated | DeviceJobOutcome::Failed(_) => (None, None),
        });
        let (statuses, payloads): (Vec<_>, Vec<_>) = answers.unzip();
        let errors = outcomes.map(|(_, outcome)| match outcome {
            DeviceJobOutcome::Failed(error) => (number_of(error), Some(&error.description[..])),
            DeviceJobOutcome::Updated | DeviceJobOutcome::Answered { .. } => (None, None),
        });
        let (codes, texts): (Vec<_>, Vec<_>) = errors.unzip();
        sqlx::query(include_str!("../../queries/end_device_jobs.sql"))
            .bind(self.claim.job.0)
            .bind(self.now.as_millis())
            .bind(keys)
            .bind(states)
            .bind(statuses)
            .bind(payloads)
            .bind(codes)
            .bind(texts)
            .fetch_one(connection)
            .await
    }
}

pub(super) struct ReleaseJob {
    pub(super) claim: JobClaim,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for ReleaseJob {
    type Answer = ();
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<(), Failure> {
        hold(connection, self.claim, self.now).await.map(drop)
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
    const EXTENT: Extent = Extent::Statement;
    // A second time finds it ended; the runner is done with it in either case.
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
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
            .execute(connection)
            .await?;
        Ok((ended.rows_affected() == 1).then_some(()))
    }
}
