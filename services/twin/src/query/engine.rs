//! What the parts of a query have in common: the store, and work beside the runtime.

use std::sync::Arc;

use downlink_domain::ErrorCode;
use downlink_domain::query::Source;
use downlink_ports::{Clock, PeerError, TwinQueries};

use crate::error::refused;

/// Reads twins by what is in them.
pub(super) struct Engine {
    pub(super) store: Arc<dyn TwinQueries>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) max_scanned: u64,
}

/// Rows read at a time: some of them may be half a megabyte.
pub(super) const BATCH: u32 = 250;

impl Engine {
    /// Over `store`; a page, or the groups of a query, may look at `max_scanned` rows.
    pub(super) fn new(
        store: Arc<dyn TwinQueries>,
        clock: Arc<dyn Clock>,
        max_scanned: u64,
    ) -> Self {
        Self {
            store,
            clock,
            max_scanned,
        }
    }

    /// Counts rows that were read and refuses when they are too many.
    pub(super) fn check_scanned(&self, scanned: u64) -> Result<(), PeerError> {
        if scanned <= self.max_scanned {
            return Ok(());
        }
        let text = format!(
            "the query has to look at more than {} twins: narrow it by a condition on tags, \
             properties or names that is not within a function",
            self.max_scanned
        );
        Err(refused(ErrorCode::ArgumentInvalid, text))
    }
}

pub(super) fn source(source: downlink_query::Source) -> Source {
    match source {
        downlink_query::Source::Modules => Source::Modules,
        downlink_query::Source::Devices | downlink_query::Source::Jobs => Source::Devices,
    }
}

/// Evaluates a batch of rows, which takes milliseconds, where nothing else waits for it.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, PeerError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| {
        tracing::error!(%error, "rows of a query were not evaluated");
        refused(ErrorCode::ServerError, "the query could not be evaluated")
    })
}
