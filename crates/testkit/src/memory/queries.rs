//! Twins found by what is in them.

use async_trait::async_trait;
use downlink_domain::id::{HubName, IdentityName};
use downlink_domain::query::Source;
use downlink_domain::twin::Object;
use downlink_ports::twin_queries::{Counting, holds};
use downlink_ports::{Scan, ScanPage, ScanRow, Tallied, Tally, TwinQueries, TwinQueryError};

use super::{MemoryStore, State};

#[async_trait]
impl TwinQueries for MemoryStore {
    async fn scan(&self, scan: Scan) -> Result<ScanPage, TwinQueryError> {
        let state = self.state.lock();
        let mut rows: Vec<_> = state
            .rows(&scan.hub, scan.source)
            .filter(|row| scan.after.is_none_or(|after| row.device.key.0 > after.0))
            .filter(|row| holds(&scan.filter, row))
            .take(scan.limit as usize + 1)
            .collect();
        let is_end = rows.len() <= scan.limit as usize;
        rows.truncate(scan.limit as usize);
        if scan.needs.waiting {
            for row in &mut rows {
                row.waiting = Some(state.depth(row.device.key, scan.now));
            }
        }
        let last = rows.last().map(|row| row.device.key);
        let next = if is_end { None } else { last };
        Ok(ScanPage { rows, next })
    }

    async fn tally(&self, tally: Tally) -> Result<Tallied, TwinQueryError> {
        let state = self.state.lock();
        let mut counting = Counting::new(&tally);
        for row in state.rows(&tally.hub, tally.source) {
            if holds(&tally.filter, &row) && counting.row(&row).is_err() {
                return Ok(Tallied::TooManyGroups);
            }
        }
        Ok(counting.finish())
    }
}

impl State {
    /// The rows of a hub in the order of their keys.
    fn rows(&self, hub: &HubName, source: Source) -> impl Iterator<Item = ScanRow> {
        let identities = self.identities.values().filter(move |device| {
            let is_module = device.name.module.is_some();
            device.hub == *hub && is_module == (source == Source::Modules)
        });
        identities.map(|identity| {
            let mut device = identity.clone();
            if device.name.module.is_some() {
                let name = IdentityName::from(device.name.device.clone());
                let parent = self.find(hub, &name).expect("modules have a device");
                device.status = parent.status;
                device.status_reason.clone_from(&parent.status_reason);
                device.status_updated_at = parent.status_updated_at;
            }
            ScanRow {
                twin: self.twins[&device.key].clone(),
                device,
                configurations: Object::new(),
                waiting: None,
            }
        })
    }
}
