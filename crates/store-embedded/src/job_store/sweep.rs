//! Jobs forgotten.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_ports::StoreError;

use crate::error::store_error;
use crate::writer::{Scope, Work};

pub(super) struct SweepJobs {
    pub(super) before: Timestamp,
    pub(super) limit: u32,
}

#[async_trait]
impl Work for SweepJobs {
    type Answer = u64;

    async fn run(self, scope: &mut Scope<'_>) -> Result<u64, StoreError> {
        let job: Option<i64> = sqlx::query_scalar(
            "SELECT job_key FROM jobs WHERE ended_at < ? ORDER BY ended_at LIMIT 1",
        )
        .bind(self.before.as_millis())
        .fetch_optional(&mut *scope.connection)
        .await
        .map_err(store_error)?;
        let Some(job) = job else {
            return Ok(0);
        };
        let gone = sqlx::query(
            "DELETE FROM device_jobs WHERE job_key = ?1 AND device_key IN (
                 SELECT device_key FROM device_jobs WHERE job_key = ?1 LIMIT ?2)",
        )
        .bind(job)
        .bind(i64::from(self.limit))
        .execute(&mut *scope.connection)
        .await
        .map_err(store_error)?
        .rows_affected();
        if gone >= u64::from(self.limit) {
            return Ok(gone);
        }
        sqlx::query("DELETE FROM jobs WHERE job_key = ?")
            .bind(job)
            .execute(&mut *scope.connection)
            .await
            .map_err(store_error)?;
        Ok(gone + 1)
    }
}
