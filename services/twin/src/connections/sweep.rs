//! The sweeper: ends the connections that a lost gateway left behind.
//!
//! A gateway is lost when it has held no lease for the grace: a directory that lost everything is
//! told of the leases again within one renewal. Any number of sweepers may run: each page of
//! connections is claimed as it is ended, and an end is told once. A gateway that was taken for
//! lost and lives says so of its connections, and the record believes it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use downlink_domain::id::{DeviceKey, GatewayId};
use downlink_domain::presence::ConnectionEnd;
use downlink_ports::{
    Clock, ConnectionStore, GatewayLeases, IdSource, PresenceDirectory, StoreError,
};
use downlink_runtime::{Lifecycle, OnError};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::metrics::SweepMetrics;
use super::vanished::Vanished;
use crate::options::{SweepOptions, TwinDeps};

/// Connections ended in one transaction.
pub(super) const PAGE: u32 = 500;
/// How long the store or presence may take over one step.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// Starts the sweeper; `ids` give the jitter.
pub(crate) fn start(
    options: SweepOptions,
    sources: Sources,
    ids: Arc<dyn IdSource>,
    lifecycle: &Lifecycle,
) {
    let sweeper = Sweeper {
        sources,
        ids,
        options,
        missing: HashMap::new(),
        looked_at: Instant::now(),
        vanished: Vanished::new(options),
    };
    let drain = lifecycle.drain_token();
    lifecycle.spawn("connection sweeper", OnError::Shutdown, async move {
        // What it was about to do, another sweeper does.
        drain.run_until_cancelled(sweeper.run()).await;
    });
}

/// What the sweeper goes by.
pub(crate) struct Sources {
    pub(super) store: Arc<dyn ConnectionStore>,
    pub(super) leases: Arc<dyn GatewayLeases>,
    pub(super) presence: Arc<dyn PresenceDirectory>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: SweepMetrics,
}

struct Sweeper {
    sources: Sources,
    ids: Arc<dyn IdSource>,
    options: SweepOptions,
    /// Gateways that hold connections and no lease, since when this has been seen.
    missing: HashMap<GatewayId, Instant>,
    looked_at: Instant,
    vanished: Vanished,
}

impl Sources {
    pub(crate) fn of(deps: &TwinDeps) -> Self {
        Self {
            store: Arc::clone(&deps.connections),
            leases: Arc::clone(&deps.leases),
            presence: Arc::clone(&deps.presence),
            clock: Arc::clone(&deps.clock),
            metrics: SweepMetrics::new(&deps.meter),
        }
    }

    pub(super) async fn leased(&self) -> Result<HashSet<GatewayId>, StoreError> {
        let leases = in_time(self.leases.gateways()).await?;
        Ok(leases.into_iter().map(|lease| lease.gateway).collect())
    }
}

pub(super) async fn in_time<T>(
    asked: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let late = |_| StoreError::Unavailable("no answer in time".into());
    timeout(DEADLINE, asked).await.map_err(late)?
}

impl Sweeper {
    async fn run(mut self) {
        loop {
            sleep(self.pause()).await;
            if let Err(error) = self.round().await {
                self.sources.metrics.failures.increment();
                debug!(%error, "connections cannot be swept now");
                // What was not seen does not count as missing.
                self.missing.clear();
            }
        }
    }

    /// 75–125 % of the interval: sweepers of several nodes drift apart.
    fn pause(&self) -> Duration {
        let mut byte = [0];
        self.ids.fill_random(&mut byte);
        let share = 0.75 + 0.5 * f64::from(byte[0]) / f64::from(u8::MAX);
        self.options.interval.mul_f64(share)
    }

    async fn round(&mut self) -> Result<(), StoreError> {
        let recorded = in_time(self.sources.store.connected_gateways()).await?;
        let leased = self.sources.leased().await?;
        let now = Instant::now();
        if now.duration_since(self.looked_at) > self.options.grace.max(self.options.interval * 4) {
            // This process stood still: nobody looked meanwhile.
            self.missing.clear();
        }
        self.looked_at = now;
        let (held, without): (Vec<_>, Vec<_>) = recorded
            .into_iter()
            .partition(|gateway| leased.contains(gateway));
        let known = std::mem::take(&mut self.missing);
        let since = |gateway: &GatewayId| known.get(gateway).copied().unwrap_or(now);
        self.missing = without
            .into_iter()
            .map(|gateway| (gateway.clone(), since(&gateway)))
            .collect();
        let is_lost = |since: &Instant| now.duration_since(*since) >= self.options.grace;
        let lost = self.missing.iter().filter(|(_, since)| is_lost(since));
        let lost: Vec<GatewayId> = lost.map(|(gateway, _)| gateway.clone()).collect();
        for gateway in lost {
            end_all(&self.sources, &self.options, gateway).await?;
        }
        if let Err(error) = self.vanished.look(&self.sources, held).await {
            // It says nothing of who holds a lease.
            self.sources.metrics.failures.increment();
            debug!(%error, "connections cannot be walked now");
        }
        Ok(())
    }
}

/// Ends all connections of a gateway, unless its lease returns meanwhile.
async fn end_all(
    sources: &Sources,
    options: &SweepOptions,
    gateway: GatewayId,
) -> Result<(), StoreError> {
    let mut after = DeviceKey(0);
    let mut count = 0;
    loop {
        let due = Instant::now() + options.page_pause;
        let listing = sources.store.list_connected(gateway.clone(), after, PAGE);
        let page = in_time(listing).await?;
        let Some((last, _)) = page.last() else { break };
        after = *last;
        if sources.leased().await?.contains(&gateway) {
            warn!(gateway.id = %gateway, count, "a gateway that was taken for lost is back");
            return Ok(());
        }
        let now = sources.clock.now();
        let ended = sources
            .store
            .presume_ended(page, ConnectionEnd::GatewayLost, now);
        let ended = in_time(ended).await?;
        sources.metrics.lost.add(ended);
        count += ended;
        tokio::time::sleep_until(due).await;
    }
    if count > 0 {
        info!(gateway.id = %gateway, count, "ended the connections of a gateway that is gone");
    }
    Ok(())
}
