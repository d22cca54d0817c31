//! Connections that are recorded and that nobody has: the report of their end was lost.
//!
//! Presence alone does not say so: it may have lost an entry. So who is absent is looked at again
//! after a while in which gateways write their entries again, and a connection that was there all
//! the same comes back with its gateway's next word.

use std::collections::VecDeque;

use downlink_domain::id::{DeviceKey, GatewayId};
use downlink_domain::presence::{ConnectionEnd, LeaseEpoch};
use downlink_ports::StoreError;
use tokio::time::Instant;
use tracing::info;

use super::sweep::{PAGE, Sources, in_time};
use crate::options::SweepOptions;

/// Suspects that wait for their second look; with more the walk pauses.
const MAX_SUSPECTS: usize = 10_000;

/// Walks over what is recorded, page after page.
pub(super) struct Vanished {
    options: SweepOptions,
    /// Where the walk stands.
    at: Option<(GatewayId, DeviceKey)>,
    /// When the next page is due.
    due: Instant,
    suspects: VecDeque<(Instant, DeviceKey, LeaseEpoch)>,
}

impl Vanished {
    pub(super) fn new(options: SweepOptions) -> Self {
        Self {
            options,
            at: None,
            due: Instant::now() + options.walk_pause,
            suspects: VecDeque::new(),
        }
    }

    /// Looks at the next page of the connections of `held`, gateways with a lease, when it is due,
    /// and again at those who were absent a while ago.
    pub(super) async fn look(
        &mut self,
        sources: &Sources,
        held: Vec<GatewayId>,
    ) -> Result<(), StoreError> {
        self.look_again(sources).await?;
        if Instant::now() < self.due || self.suspects.len() >= MAX_SUSPECTS {
            return Ok(());
        }
        let Some((gateway, after)) = self.place(held) else {
            self.at = None;
            self.due = Instant::now() + self.options.walk_pause;
            return Ok(());
        };
        let listing = sources.store.list_connected(gateway.clone(), after, PAGE);
        let page = in_time(listing).await?;
        let last = page.last().map(|(device, _)| *device);
        let since = Instant::now();
        let absent = absent(sources, page).await?;
        self.suspects.extend(
            absent
                .into_iter()
                .map(|(device, epoch)| (since, device, epoch)),
        );
        // The end of this gateway's: the next one follows, after a pause when it was the last.
        self.at = Some((gateway, last.unwrap_or(DeviceKey(i64::MAX))));
        Ok(())
    }

    /// Where the walk goes on: with what follows in the same gateway, or the next one by name.
    fn place(&self, mut held: Vec<GatewayId>) -> Option<(GatewayId, DeviceKey)> {
        held.sort_unstable();
        let begin = |gateway: GatewayId| (gateway, DeviceKey(0));
        match &self.at {
            None => held.into_iter().next().map(begin),
            Some((gateway, after)) if after.0 < i64::MAX && held.contains(gateway) => {
                Some((gateway.clone(), *after))
            }
            Some((gateway, _)) => held.into_iter().find(|next| next > gateway).map(begin),
        }
    }

    async fn look_again(&mut self, sources: &Sources) -> Result<(), StoreError> {
        let patience = self.options.patience;
        let is_due = |(since, ..): &(Instant, DeviceKey, LeaseEpoch)| since.elapsed() >= patience;
        let count = self.suspects.iter().take_while(|one| is_due(one)).count();
        let count = count.min(usize::try_from(PAGE).unwrap_or(usize::MAX));
        if count == 0 {
            return Ok(());
        }
        let again = self.suspects.iter().take(count);
        let again = again.map(|(_, device, epoch)| (*device, *epoch)).collect();
        let absent = absent(sources, again).await?;
        if !absent.is_empty() {
            let now = sources.clock.now();
            let ended = sources
                .store
                .presume_ended(absent, ConnectionEnd::Vanished, now);
            let ended = in_time(ended).await?;
            sources.metrics.vanished.add(ended);
            info!(count = ended, "ended connections that no gateway has");
        }
        self.suspects.drain(..count);
        Ok(())
    }
}

/// Those that presence does not know at all; a newer connection is its gateway's to report.
async fn absent(
    sources: &Sources,
    page: Vec<(DeviceKey, LeaseEpoch)>,
) -> Result<Vec<(DeviceKey, LeaseEpoch)>, StoreError> {
    let devices: Vec<DeviceKey> = page.iter().map(|(device, _)| *device).collect();
    let routes = in_time(sources.presence.lookup(&devices)).await?;
    let absent = page.into_iter().zip(routes);
    let absent = absent.filter(|(_, route)| route.is_none());
    Ok(absent.map(|(one, _)| one).collect())
}
