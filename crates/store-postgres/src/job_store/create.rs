//! Jobs created and cancelled.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::id::{HubName, JobId};
use downlink_domain::job::{Job, JobError, JobSpec};
use downlink_ports::events::{AuditOperation, AuditRecord, audit_event};

use super::read::{find, job};
use crate::error::Failure;
use crate::fields::Fields;
use crate::outbox;
use crate::retry::{Extent, Repeat, Work};
use crate::session::Session;

pub(super) struct CreateJob {
    pub(super) hub: HubName,
    pub(super) spec: JobSpec,
    pub(super) by: Actor,
    pub(super) max_active: u32,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for CreateJob {
    type Answer = Result<Job, JobError>;
    const EXTENT: Extent = Extent::Transaction;
    // A second time would find the first one's job.
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let (hub, spec) = (&self.hub, &self.spec);
        // Whoever creates jobs of one hub takes turns, so that the number of them holds.
        let held = sqlx::query(include_str!("../../queries/lock_access.sql"))
            .bind(hub.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        if held.is_none() {
            return Ok(Err(JobError::NoHub));
        }
        if find(connection, hub, &spec.id).await?.is_some() {
            return Ok(Err(JobError::AlreadyExists(spec.id.clone())));
        }
        let active = sqlx::query(include_str!("../../queries/count_active_jobs.sql"))
            .bind(hub.as_str())
            .fetch_one(&mut *connection)
            .await?;
        let active: i64 = Fields::new(&active, "jobs", "active").get("active")?;
        if active >= i64::from(self.max_active) {
            return Ok(Err(JobError::TooMany(self.max_active)));
        }
        let work = serde_json::to_string(&spec.work).expect("an object is always JSON");
        let millis = i64::try_from(spec.max_execution.as_millis()).unwrap_or(i64::MAX);
        let row = sqlx::query(include_str!("../../queries/create_job.sql"))
            .bind(hub.as_str())
            .bind(spec.id.as_str())
            .bind(spec.kind.as_str())
            .bind(&spec.condition)
            .bind(work)
            .bind(spec.first_state(self.now).as_str())
            .bind(self.now.as_millis())
            .bind(spec.start_at.as_millis())
            .bind(millis)
            .bind(spec.start_at.max(self.now).as_millis())
            .fetch_one(&mut *connection)
            .await?;
        let job = job(&row)?;
        tell(
            connection,
            AuditOperation::CreateJob,
            &job,
            &self.by,
            self.now,
        )
        .await?;
        Ok(Ok(job))
    }
}

pub(super) struct CancelJob {
    pub(super) hub: HubName,
    pub(super) id: JobId,
    pub(super) by: Actor,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for CancelJob {
    type Answer = Result<Job, JobError>;
    const EXTENT: Extent = Extent::Transaction;
    // A second time would find it cancelled and refuse.
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let row = sqlx::query(include_str!("../../queries/cancel_job.sql"))
            .bind(self.hub.as_str())
            .bind(self.id.as_str())
            .bind(self.now.as_millis())
            .fetch_optional(&mut *connection)
            .await?;
        let Some(row) = row else {
            return Ok(Err(match find(connection, &self.hub, &self.id).await? {
                None => JobError::NotFound(self.id.clone()),
                Some(job) => JobError::NotCancellable(job.state),
            }));
        };
        let job = job(&row)?;
        tell(
            connection,
            AuditOperation::CancelJob,
            &job,
            &self.by,
            self.now,
        )
        .await?;
        Ok(Ok(job))
    }
}

async fn tell(
    connection: &mut Session<'_>,
    operation: AuditOperation,
    job: &Job,
    by: &Actor,
    now: Timestamp,
) -> Result<(), Failure> {
    let record = AuditRecord::of_job(operation, job, by, now);
    Ok(outbox::insert(connection, &[audit_event(&record)]).await?)
}
