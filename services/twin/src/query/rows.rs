//! Pages of rows.

use std::sync::Arc;

use bytes::Bytes;
use downlink_domain::ErrorCode;
use downlink_domain::id::{DeviceKey, HubName};
use downlink_domain::query::Filter;
use downlink_ports::{PeerError, Scan, ScanRow};
use downlink_query::{Query, document};

use super::cursor::Place;
use super::engine::{BATCH, Engine, aside, source};
use super::{Found, of_store};
use crate::error::refused;

/// From here on a page takes no further row, in bytes of text.
pub(super) const PAGE_BYTES: usize = 3 * 1024 * 1024;
/// Longest row, in bytes of text: with the page it still fits into one answer.
pub(super) const ROW_BYTES: usize = 4 * 1024 * 1024;

/// A page in the making.
#[derive(Default)]
pub(super) struct Page {
    pub(super) items: Vec<Bytes>,
    bytes: usize,
    /// Whether a further row was found that has no room.
    pub(super) is_full: bool,
}

impl Page {
    /// Tells whether another row has room; if not, the page is full.
    pub(super) fn has_room(&mut self, want: usize) -> bool {
        self.is_full = self.items.len() >= want || self.bytes >= PAGE_BYTES;
        !self.is_full
    }

    pub(super) fn push(&mut self, row: Vec<u8>) -> Result<(), PeerError> {
        if row.len() > ROW_BYTES {
            let text = "a row of the result is longer than 4 MiB: select less of it";
            return Err(refused(ErrorCode::ArgumentInvalid, text));
        }
        self.bytes += row.len();
        self.items.push(row.into());
        Ok(())
    }
}

/// A page of twins in the making.
#[derive(Default)]
struct Rows {
    page: Page,
    last: Option<DeviceKey>,
}

impl Rows {
    fn take(&mut self, query: &Query, rows: &[ScanRow], want: usize) -> Result<(), PeerError> {
        for row in rows.iter().filter(|row| query.matches(*row)) {
            if !self.page.has_room(want) {
                return Ok(());
            }
            self.page.push(text(query, row))?;
            self.last = Some(row.device.key);
        }
        Ok(())
    }
}

fn text(query: &Query, row: &ScanRow) -> Vec<u8> {
    let selected = query.project(row).map(serde_json::Value::Object);
    let value = selected.unwrap_or_else(|| document::twin(row));
    value.to_string().into_bytes()
}

impl Engine {
    /// Up to `want` rows after `place`, at least one, in the order of their keys.
    ///
    /// One row more than that is looked for, so that no page is followed by an empty one.
    pub(super) async fn rows(
        &self,
        hub: &HubName,
        query: &Arc<Query>,
        place: Option<DeviceKey>,
        want: usize,
    ) -> Result<Found, PeerError> {
        let plan = query.plan();
        if plan.filter == Filter::Nothing {
            return Ok(Found::default());
        }
        let mut rows = Rows::default();
        let (mut after, mut scanned) = (place, 0);
        loop {
            let missing = want.saturating_add(1) - rows.page.items.len();
            let missing = u32::try_from(missing).unwrap_or(BATCH);
            let scan = Scan {
                hub: hub.clone(),
                source: source(query.source),
                filter: plan.filter.clone(),
                after,
                limit: if plan.is_exact {
                    missing.clamp(1, BATCH)
                } else {
                    BATCH
                },
                needs: query.needs(),
                now: self.clock.now(),
            };
            let found = self.store.scan(scan).await.map_err(of_store)?;
            scanned += u64::try_from(found.rows.len()).unwrap_or(u64::MAX);
            let read = Arc::clone(query);
            rows = aside(move || {
                rows.take(&read, &found.rows, want)?;
                Ok::<_, PeerError>(rows)
            })
            .await??;
            if rows.page.is_full || found.next.is_none() {
                break;
            }
            self.check_scanned(scanned)?;
            after = found.next;
        }
        Ok(Found {
            next: rows.last.filter(|_| rows.page.is_full).map(Place::Row),
            items: rows.page.items,
            scanned,
        })
    }
}
