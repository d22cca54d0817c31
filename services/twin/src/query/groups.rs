//! Pages of groups.
//!
//! Groups have an order of their own, that of their digests, which stands however rows change; each
//! page makes all groups anew and tells those after the last one that was told.

use std::sync::Arc;

use downlink_domain::ErrorCode;
use downlink_domain::id::HubName;
use downlink_domain::query::Filter;
use downlink_ports::{PeerError, Scan, ScanRow, Tallied, Tally};
use downlink_query::{Group, GroupDigest, Groups, Query, TooManyGroups};

use super::cursor::Place;
use super::engine::{BATCH, Engine, aside, source};
use super::rows::Page;
use super::{Found, of_store};
use crate::error::refused;

/// Most groups of a query.
const MAX_GROUPS: usize = 10_000;
/// Most bytes of what groups have in common and of the texts among their aggregates.
const MAX_BYTES: usize = 16 * 1024 * 1024;

impl Engine {
    /// Up to `want` groups after `place`.
    pub(super) async fn groups(
        &self,
        hub: &HubName,
        query: &Arc<Query>,
        place: Option<GroupDigest>,
        want: usize,
    ) -> Result<Found, PeerError> {
        let counted = self.count_groups(hub, query).await?;
        let (groups, scanned) = match counted {
            Some(groups) => (groups, 0),
            None => self.read_groups(hub, query).await?,
        };
        let mut page = Page::default();
        let mut last = None;
        for group in groups {
            if place.is_some_and(|place| group.digest <= place) {
                continue;
            }
            if !page.has_room(want) {
                break;
            }
            let row = serde_json::Value::Object(group.selected);
            page.push(row.to_string().into_bytes())?;
            last = Some(group.digest);
        }
        Ok(Found {
            next: last.filter(|_| page.is_full).map(Place::Group),
            items: page.items,
            scanned,
        })
    }

    /// Lets the store count, when it can.
    async fn count_groups(
        &self,
        hub: &HubName,
        query: &Query,
    ) -> Result<Option<Vec<Group>>, PeerError> {
        let plan = query.plan();
        let Some(group_by) = query.tally_fields().filter(|_| plan.is_exact) else {
            return Ok(None);
        };
        let tally = Tally {
            hub: hub.clone(),
            source: source(query.source),
            filter: plan.filter,
            group_by,
            max_groups: u32::try_from(MAX_GROUPS).unwrap_or(u32::MAX),
        };
        let counted = match self.store.tally(tally).await.map_err(of_store)? {
            Tallied::Groups(groups) => groups,
            Tallied::TooManyGroups => return Err(too_many(TooManyGroups)),
        };
        let mut groups = Groups::new(query, MAX_GROUPS, MAX_BYTES);
        for group in counted {
            let is_told_apart = groups.add_count(group.values, group.count);
            if !is_told_apart.map_err(too_many)? {
                return Ok(None);
            }
        }
        Ok(Some(groups.finish()))
    }

    /// Reads all rows and puts them into groups.
    async fn read_groups(
        &self,
        hub: &HubName,
        query: &Arc<Query>,
    ) -> Result<(Vec<Group>, u64), PeerError> {
        let plan = query.plan();
        let mut groups = Groups::new(query, MAX_GROUPS, MAX_BYTES);
        let (mut after, mut scanned) = (None, 0);
        if plan.filter == Filter::Nothing {
            return Ok((groups.finish(), scanned));
        }
        loop {
            let scan = Scan {
                hub: hub.clone(),
                source: source(query.source),
                filter: plan.filter.clone(),
                after,
                limit: BATCH,
                needs: query.needs(),
                now: self.clock.now(),
            };
            let found = self.store.scan(scan).await.map_err(of_store)?;
            scanned += u64::try_from(found.rows.len()).unwrap_or(u64::MAX);
            self.check_scanned(scanned)?;
            let read = Arc::clone(query);
            groups = aside(move || add(groups, &read, &found.rows))
                .await?
                .map_err(too_many)?;
            if found.next.is_none() {
                break;
            }
            after = found.next;
        }
        Ok((groups.finish(), scanned))
    }
}

fn add(mut groups: Groups, query: &Query, rows: &[ScanRow]) -> Result<Groups, TooManyGroups> {
    for row in rows.iter().filter(|row| query.matches(*row)) {
        groups.add_row(row)?;
    }
    Ok(groups)
}

fn too_many(_: TooManyGroups) -> PeerError {
    let text = format!(
        "the query makes more than {MAX_GROUPS} groups, or larger ones than it may: narrow it, or \
         group by less"
    );
    refused(ErrorCode::ArgumentInvalid, text)
}
