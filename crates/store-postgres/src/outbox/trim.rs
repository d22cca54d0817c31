//! Events shed when nobody relays them.

use std::time::Duration;

use downlink_domain::Timestamp;
use downlink_ports::{OutboxBounds, StoreError};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::{Failure, store_error};
use crate::fields::{Fields, stored};
use crate::relay::{LOCK_CLASS, Relay, TRIM_LOCK};
use crate::session::Session;

/// How long a count of the events is good for: one pass of trims.
const COUNT_LIFE: Duration = Duration::from_secs(10);

/// Greatest number of events that is kept to exactly; a larger one is compared with the server's own
/// count of its rows, which runs behind by seconds and costs nothing.
const MOST_COUNTED: u64 = 1_000_000;

/// How many events there were beyond the greatest number, less those shed since.
///
/// A count reads the index of the whole outbox; a pass of many trims needs one.
#[derive(Debug, Default)]
pub(crate) struct Excess {
    counted: Mutex<Option<(u64, Instant)>>,
}

impl Excess {
    fn known(&self) -> Option<u64> {
        let counted = *self.counted.lock();
        let (excess, at) = counted?;
        (excess > 0 && at.elapsed() < COUNT_LIFE).then_some(excess)
    }

    fn on_counted(&self, excess: u64) {
        *self.counted.lock() = Some((excess, Instant::now()));
    }

    fn on_shed(&self, shed: u64) {
        if let Some((excess, _)) = &mut *self.counted.lock() {
            *excess = excess.saturating_sub(shed);
        }
    }
}

/// What the outbox looks like from its two ends.
struct Measure {
    is_alone: bool,
    /// Positions of the first and the last event, and the time of the first.
    ends: Option<(i64, i64, i64)>,
}

impl Relay {
    /// Sheds what is outside the bounds, at most 10,000 events.
    pub(crate) async fn trim(
        &self,
        bounds: OutboxBounds,
        now: Timestamp,
    ) -> Result<u64, StoreError> {
        let mut transaction = self.begin().await.map_err(store_error)?;
        let shed = self
            .shed(&mut Session::of(&mut transaction, self.terms), bounds, now)
            .await?;
        let committed = self.terms.in_time(transaction.commit()).await;
        committed.map_err(store_error)?;
        self.excess.on_shed(shed);
        Ok(shed)
    }

    async fn shed(
        &self,
        connection: &mut Session<'_>,
        bounds: OutboxBounds,
        now: Timestamp,
    ) -> Result<u64, Failure> {
        let oldest_kept = (now - bounds.retention).as_millis();
        let measure = measure(connection).await?;
        let Some((first, last, at)) = measure.ends else {
            return Ok(0);
        };
        if !measure.is_alone {
            return Ok(0);
        }
        let excess = self.excess(connection, last - first + 1, bounds).await?;
        if excess == 0 && at >= oldest_kept {
            return Ok(0);
        }
        let shed = sqlx::query(include_str!("../../queries/shed_events.sql"))
            .bind(oldest_kept)
            .bind(stored(excess))
            .execute(connection)
            .await?;
        Ok(shed.rows_affected())
    }

    /// How many events there are beyond the greatest number; `span` is a number that there cannot
    /// be more of.
    async fn excess(
        &self,
        connection: &mut Session<'_>,
        span: i64,
        bounds: OutboxBounds,
    ) -> Result<u64, Failure> {
        if span <= stored(bounds.max_events) {
            return Ok(0);
        }
        if let Some(excess) = self.excess.known() {
            return Ok(excess);
        }
        let events = if bounds.max_events <= MOST_COUNTED {
            count(connection).await?
        } else {
            sqlx::query_scalar("SELECT pg_stat_get_live_tuples('outbox'::regclass)")
                .fetch_one(connection)
                .await?
        };
        let excess = u64::try_from(events).unwrap_or(0);
        let excess = excess.saturating_sub(bounds.max_events);
        self.excess.on_counted(excess);
        Ok(excess)
    }
}

async fn measure(connection: &mut Session<'_>) -> Result<Measure, Failure> {
    let row = sqlx::query(include_str!("../../queries/measure_outbox.sql"))
        .bind(LOCK_CLASS)
        .bind(TRIM_LOCK)
        .fetch_one(connection)
        .await?;
    let row = Fields::new(&row, "outbox", "first");
    let first: Option<i64> = row.get("first")?;
    let last: Option<i64> = row.get("last")?;
    let at: Option<i64> = row.get("at")?;
    Ok(Measure {
        is_alone: row.get("is_alone")?,
        ends: first
            .zip(last)
            .zip(at)
            .map(|((first, last), at)| (first, last, at)),
    })
}

/// Counts the events. The one statement that is better off without an index: rows that vacuum has not
/// seen yet would be looked up one by one.
async fn count(connection: &mut Session<'_>) -> sqlx::Result<i64> {
    sqlx::raw_sql("SET LOCAL enable_seqscan = on; SET LOCAL enable_indexonlyscan = off")
        .execute(&mut *connection)
        .await?;
    let events = sqlx::query_scalar("SELECT count(*) FROM outbox")
        .fetch_one(&mut *connection)
        .await?;
    // The statements after this one are planned for their indexes, and their plans are kept.
    sqlx::raw_sql("SET LOCAL enable_seqscan = off; SET LOCAL enable_indexonlyscan = on")
        .execute(connection)
        .await?;
    Ok(events)
}
