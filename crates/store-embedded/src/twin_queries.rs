//! Twins found by what is in them.
//!
//! The file is small and near: rows are walked in the order of their keys, or found by the ids of
//! their devices, and their documents decide by the evaluator that all stores share.

use async_trait::async_trait;
use downlink_domain::id::DeviceKey;
use downlink_domain::query::{Comparison, Field, Filter, Scalar};
use downlink_ports::twin_queries::{Counting, holds};
use downlink_ports::{
    Scan, ScanPage, ScanRow, StoreError, Tallied, Tally, TwinQueries, TwinQueryError,
};
use sqlx::{Connection, SqliteConnection};
use tokio::time::Instant;

use self::row::Reading;
use crate::error::store_error;
use crate::store::Store;

mod row;

/// Most rows that one scan looks at before it answers with what it has.
const MAX_EXAMINED: u32 = 10_000;
/// Rows that are held at once while they are looked at, at least and at most.
const CHUNK: (u32, u32) = (100, 1_000);

#[async_trait]
impl TwinQueries for Store {
    async fn scan(&self, scan: Scan) -> Result<ScanPage, TwinQueryError> {
        let walk = Walk {
            names: names(&scan.filter),
            reading: Reading::of_scan(&scan),
            deadline: self.query_deadline(),
        };
        let mut reader = self.query_reader().await?;
        let wanted = scan.limit.max(1) as usize;
        let most = match scan.filter {
            Filter::All => scan.limit.saturating_add(1).min(CHUNK.1),
            _ => scan.limit.saturating_mul(4).clamp(CHUNK.0, CHUNK.1),
        };
        let mut rows = Vec::new();
        let mut after = scan.after;
        let mut examined = 0;
        loop {
            let chunk = walk.chunk(&mut reader, after, most).await?;
            let is_end = chunk.len() < most as usize;
            examined += most;
            for row in chunk {
                after = Some(row.device.key);
                if !holds(&scan.filter, &row) {
                    continue;
                }
                if rows.len() == wanted {
                    let next = rows.last().map(|row: &ScanRow| row.device.key);
                    return Ok(ScanPage { rows, next });
                }
                rows.push(row);
            }
            let next = if is_end { None } else { after };
            if is_end || examined >= MAX_EXAMINED {
                return Ok(ScanPage { rows, next });
            }
        }
    }

    async fn tally(&self, tally: Tally) -> Result<Tallied, TwinQueryError> {
        let walk = Walk {
            names: names(&tally.filter),
            reading: Reading::of_tally(&tally),
            deadline: self.query_deadline(),
        };
        let mut reader = self.query_reader().await?;
        // One view of the file for all chunks.
        let mut open = reader.begin().await.map_err(store_error)?;
        let mut counting = Counting::new(&tally);
        let mut after = None;
        loop {
            let chunk = walk.chunk(&mut open, after, CHUNK.1).await?;
            let is_end = chunk.len() < CHUNK.1 as usize;
            for row in chunk {
                after = Some(row.device.key);
                if holds(&tally.filter, &row) && counting.row(&row).is_err() {
                    return Ok(Tallied::TooManyGroups);
                }
            }
            if is_end {
                return Ok(counting.finish());
            }
        }
    }
}

/// How rows are come by.
struct Walk {
    /// Ids of devices of which one is wanted, a JSON array; else all of the hub.
    names: Option<String>,
    reading: Reading,
    deadline: Instant,
}

impl Walk {
    /// Up to `most` rows after a key, in order.
    async fn chunk(
        &self,
        connection: &mut SqliteConnection,
        after: Option<DeviceKey>,
        most: u32,
    ) -> Result<Vec<ScanRow>, TwinQueryError> {
        if Instant::now() >= self.deadline {
            return Err(TwinQueryError::TooSlow);
        }
        let after = after.map_or(i64::MIN, |key| key.0);
        let query = self.reading.query(self.names.as_deref(), after, most);
        let rows = query.fetch_all(connection).await.map_err(store_error)?;
        let rows: Result<_, StoreError> = rows.iter().map(|row| self.reading.read(row)).collect();
        Ok(rows?)
    }
}

/// The ids of devices of which a filter wants one, if it says so.
fn names(filter: &Filter) -> Option<String> {
    let values = match filter {
        Filter::And(parts) => return parts.iter().find_map(names),
        Filter::Compare {
            field: Field::DeviceId,
            comparison: Comparison::Eq,
            value,
        } => std::slice::from_ref(value),
        Filter::In {
            field: Field::DeviceId,
            values,
        } => values,
        _ => return None,
    };
    let ids = values.iter().filter_map(|value| match value {
        Scalar::Text(id) => Some(id.as_str()),
        _ => None,
    });
    let ids: Vec<&str> = ids.collect();
    Some(serde_json::to_string(&ids).expect("texts are always JSON"))
}
