//! Queries over a hub's twins (registry.md §5): the language of `downlink-query` over the store,
//! a page at a time, within bounds.

mod cursor;
mod engine;
mod groups;
mod jobs;
mod meter;
mod rows;
#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use downlink_domain::ErrorCode;
use downlink_ports::{
    Clock, FleetApi, ItemType, PeerError, QueryApi, QueryCall, QueryPage, TwinQueries,
    TwinQueryError,
};
use downlink_query::{Query, Select, Source, SyntaxError};
use opentelemetry::metrics::Meter;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::cursor::{Cursor, Place};
use self::engine::Engine;
use self::meter::{Instruments, Kind};
use crate::error::refused;

/// Bounds of queries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryOptions {
    /// Most rows that are read for one page, or for the groups of one query.
    pub max_scanned: u64,
    /// Most queries that run at a time at this node; more wait for a short while.
    pub concurrent: NonZeroUsize,
    /// Longest time that one page may take.
    pub deadline: Duration,
    /// From how long on a query is written into the log.
    pub slow: Duration,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self {
            max_scanned: 100_000,
            concurrent: NonZeroUsize::MIN.saturating_add(15),
            deadline: Duration::from_secs(8),
            slow: Duration::from_secs(1),
        }
    }
}

/// What was found, before it is told.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Rows as JSON text.
    items: Vec<bytes::Bytes>,
    /// Where to go on, when there is more.
    next: Option<Place>,
    /// How many rows were read.
    scanned: u64,
}

/// Answers queries.
pub(crate) struct QueryDesk {
    engine: Engine,
    /// Answers for `devices.jobs`; without it there are no rows of jobs.
    jobs: Option<Arc<dyn FleetApi>>,
    permits: Semaphore,
    options: QueryOptions,
    instruments: Instruments,
}

/// Longest wait for a turn.
const PATIENCE: Duration = Duration::from_secs(2);

impl QueryDesk {
    pub(crate) fn new(
        (store, clock): (Arc<dyn TwinQueries>, Arc<dyn Clock>),
        jobs: Option<Arc<dyn FleetApi>>,
        options: QueryOptions,
        meter: &Meter,
    ) -> Self {
        Self {
            engine: Engine::new(store, clock, options.max_scanned),
            jobs,
            permits: Semaphore::new(options.concurrent.get()),
            options,
            instruments: Instruments::new(meter),
        }
    }

    async fn answer(&self, call: &QueryCall, query: &Arc<Query>) -> Result<Answer, PeerError> {
        let turn = timeout(PATIENCE, self.permits.acquire()).await;
        let Ok(Ok(_permit)) = turn else {
            let text = "too many queries run at a time, try again later";
            return Err(refused(ErrorCode::ThrottlingException, text));
        };
        let cursor = call.continuation.as_deref().filter(|text| !text.is_empty());
        let cursor = cursor
            .map(|text| Cursor::read(text, call))
            .transpose()?
            .unwrap_or(Cursor {
                place: None,
                left: query.top,
            });
        let left = cursor.left.unwrap_or(u64::MAX).min(call.page_size.into());
        let want = usize::try_from(left).unwrap_or(usize::MAX);
        let found = if want == 0 {
            Found::default()
        } else {
            let found = self.find(call, query, cursor.place, want);
            timeout(self.options.deadline, found)
                .await
                .map_err(|_| too_slow())??
        };
        let told = u64::try_from(found.items.len()).unwrap_or(u64::MAX);
        let left = cursor.left.map(|left| left.saturating_sub(told));
        let next = found.next.filter(|_| left != Some(0));
        let continuation = next.map(|place| {
            let place = Some(place);
            Cursor { place, left }.write(call)
        });
        let page = QueryPage {
            item_type: item_type(query),
            items: found.items,
            continuation,
        };
        Ok(Answer {
            page,
            scanned: found.scanned,
        })
    }

    async fn find(
        &self,
        call: &QueryCall,
        query: &Arc<Query>,
        place: Option<Place>,
        want: usize,
    ) -> Result<Found, PeerError> {
        match (query.source, place) {
            (Source::Jobs, None) => self.job_rows(&call.hub, query, None, want).await,
            (Source::Jobs, Some(Place::Job(place))) => {
                self.job_rows(&call.hub, query, Some(place), want).await
            }
            (_, None) if query.is_grouped() => {
                self.engine.groups(&call.hub, query, None, want).await
            }
            (_, Some(Place::Group(place))) if query.is_grouped() => {
                self.engine
                    .groups(&call.hub, query, Some(place), want)
                    .await
            }
            (_, None) => self.engine.rows(&call.hub, query, None, want).await,
            (_, Some(Place::Row(place))) => {
                self.engine.rows(&call.hub, query, Some(place), want).await
            }
            // The place is bound to the text, so its kind is the query's.
            (_, Some(_)) => Err(cursor::unknown()),
        }
    }
}

struct Answer {
    page: QueryPage,
    scanned: u64,
}

#[async_trait]
impl QueryApi for QueryDesk {
    async fn query(&self, call: QueryCall) -> Result<QueryPage, PeerError> {
        let begun = Instant::now();
        let query = match Query::parse(&call.text) {
            Ok(query) => Arc::new(query),
            Err(error) => {
                self.instruments.count_refused_text();
                return Err(of_syntax(&error));
            }
        };
        let answer = self.answer(&call, &query).await;
        let elapsed = begun.elapsed();
        let scanned = answer.as_ref().map_or(0, |answer| answer.scanned);
        let kind = match query.source {
            Source::Jobs => Kind::Jobs,
            Source::Devices | Source::Modules if query.is_grouped() => Kind::Groups,
            Source::Devices | Source::Modules => Kind::Rows,
        };
        let answer = answer.map(|answer| answer.page);
        self.instruments.count(kind, &answer, scanned, elapsed);
        if elapsed >= self.options.slow {
            // Without the values that it looks for: those are the users' own.
            let shape = downlink_query::shape(&call.text);
            tracing::warn!(
                hub = %call.hub,
                elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
                rows.scanned = scanned,
                is_answered = answer.is_ok(),
                query = shape,
                "a query was slow"
            );
        }
        answer
    }
}

fn item_type(query: &Query) -> ItemType {
    match (query.source, &query.select) {
        (Source::Jobs, _) => ItemType::DeviceJob,
        (Source::Devices | Source::Modules, Select::All) => ItemType::Twin,
        (Source::Devices | Source::Modules, Select::Items(_)) => ItemType::Raw,
    }
}

/// The refusal of a text, which names the place of the error.
pub(crate) fn of_syntax(error: &SyntaxError) -> PeerError {
    PeerError::refused(ErrorCode::ArgumentInvalid, error)
}

fn too_slow() -> PeerError {
    let text = "the query takes longer than a query may: ask for less, compare tags with =, or \
                read fewer rows a page";
    refused(ErrorCode::ArgumentInvalid, text)
}

fn of_store(error: TwinQueryError) -> PeerError {
    match error {
        TwinQueryError::TooSlow => too_slow(),
        TwinQueryError::Store(error) => error.into(),
    }
}
