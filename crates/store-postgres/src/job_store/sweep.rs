//! Jobs forgotten.

use async_trait::async_trait;
use downlink_domain::Timestamp;

use crate::error::Failure;
use crate::fields::Fields;
use crate::retry::{Extent, Repeat, Work};
use crate::session::Session;

pub(super) struct SweepJobs {
    pub(super) before: Timestamp,
    pub(super) limit: u32,
}

#[async_trait]
impl Work for SweepJobs {
    type Answer = u64;
    const EXTENT: Extent = Extent::Transaction;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<u64, Failure> {
        let row = sqlx::query(include_str!("../../queries/find_forgettable_job.sql"))
            .bind(self.before.as_millis())
            .fetch_optional(&mut *connection)
            .await?;
        let Some(row) = row else {
            return Ok(0);
        };
        let job: i64 = Fields::new(&row, "jobs", "job_key").get("job_key")?;
        let gone = sqlx::query(include_str!("../../queries/delete_device_jobs.sql"))
            .bind(job)
            .bind(i64::from(self.limit))
            .execute(&mut *connection)
            .await?
            .rows_affected();
        if gone >= u64::from(self.limit) {
            return Ok(gone);
        }
        sqlx::query(include_str!("../../queries/delete_job.sql"))
            .bind(job)
            .execute(connection)
            .await?;
        Ok(gone + 1)
    }
}
