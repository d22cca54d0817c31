//! Rows of `devices.jobs` (registry.md §5.3).

use std::sync::Arc;

use downlink_domain::id::{HubName, JobId};
use downlink_ports::{DeviceJobPlace, PeerError};
use downlink_query::{Query, document, text_equalities};

use super::cursor::Place;
use super::rows::Page;
use super::{Found, QueryDesk};

/// Rows read at a time; each may hold the largest answer of a device.
const BATCH: u32 = 50;

impl QueryDesk {
    /// Up to `want` rows after `place` in the order of jobs and their devices.
    pub(super) async fn job_rows(
        &self,
        hub: &HubName,
        query: &Arc<Query>,
        place: Option<DeviceJobPlace>,
        want: usize,
    ) -> Result<Found, PeerError> {
        let mut found = Found::default();
        let (Some(jobs), Ok(job)) = (&self.jobs, demanded_job(query)) else {
            return Ok(found);
        };
        let mut page = Page::default();
        let (mut after, mut last) = (place, None);
        loop {
            let listed = jobs
                .list_device_jobs(hub.clone(), job.clone(), after, BATCH)
                .await?;
            found.scanned += u64::try_from(listed.len()).unwrap_or(u64::MAX);
            let is_end = listed.len() < usize::try_from(BATCH).unwrap_or(usize::MAX);
            for row in &listed {
                let place = DeviceJobPlace {
                    job: row.job,
                    device: row.device,
                };
                after = Some(place);
                let document = document::device_job(row);
                if !query.matches(&document) {
                    continue;
                }
                if !page.has_room(want) {
                    break;
                }
                page.push(document.to_string().into_bytes())?;
                last = Some(place);
            }
            if page.is_full || is_end {
                break;
            }
            self.engine.check_scanned(found.scanned)?;
        }
        found.next = last.filter(|_| page.is_full).map(Place::Job);
        found.items = page.items;
        Ok(found)
    }
}

/// The one job that the condition demands, if it does; an error when that is no id of a job.
fn demanded_job(query: &Query) -> Result<Option<JobId>, ()> {
    let demanded = text_equalities(query.condition.as_ref());
    let mut demanded = demanded.into_iter();
    let job = demanded.find(|(names, _)| *names == ["jobId"]);
    job.map(|(_, id)| id.parse().map_err(|_| ())).transpose()
}
