//! Twins found by what is in them.
//!
//! A filter is taken apart: one part of it leads to candidates through an index (ids of devices, or
//! members of tags by `twin_values`), what columns and further index entries tell becomes the
//! condition of the statement, and the documents that came decide the rest by the one evaluator
//! that all stores share. So what the database is asked only has to miss no row.

use async_trait::async_trait;
use downlink_domain::id::HubName;
use downlink_domain::query::{Filter, Source};
use downlink_ports::{Scan, ScanPage, Tallied, Tally, TwinQueries, TwinQueryError};
use sqlx::Row;
use sqlx::postgres::PgRow;

pub(crate) use self::run::Queries;
use self::selection::Selection;
use crate::store::PostgresStore;

mod columns;
mod members;
#[cfg(test)]
mod plans;
mod row;
mod run;
mod scan;
mod selection;
mod tally;
mod text;

/// Candidates beyond which, for a page, a way that has to be sorted is no better than walking the
/// hub.
const FEW: i64 = 10_000;

#[async_trait]
impl TwinQueries for PostgresStore {
    async fn scan(&self, scan: Scan) -> Result<ScanPage, TwinQueryError> {
        scan::scan(&self.queries, &scan).await
    }

    async fn tally(&self, tally: Tally) -> Result<Tallied, TwinQueryError> {
        tally::tally(&self.queries, &tally).await
    }
}

/// Takes a filter apart and finds the best way to its rows; `most` is how many candidates a way may
/// have that does not bring them in order.
async fn select(
    queries: &Queries,
    hub: &HubName,
    filter: &Filter,
    source: Source,
    most: i64,
) -> Result<Selection, TwinQueryError> {
    let mut selection = Selection::of(filter, source);
    if let Some(survey) = selection.survey(hub, FEW + 1) {
        let mut surveyed: Vec<i64> = Vec::new();
        let mut on_row = |row: &PgRow| {
            surveyed = row.try_get("many").unwrap_or_default();
            Ok(true)
        };
        queries.each(survey, &mut on_row).await?;
        selection.lead(&surveyed, most);
    }
    Ok(selection)
}
