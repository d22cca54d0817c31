//! Learning what administrators state, and sharing the rates of a hub with its other gateways.
//!
//! A gateway tells the others what it wants a few times a second, hears what they want, and works out its share; all do
//! so alike, so the shares are the rate together. While wants cannot be exchanged the last known ones count, and after
//! a while each gateway takes an even share by the number of those last heard: together they still keep the rate, and
//! one that is busier than the others has less than it could.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use downlink_domain::id::{GatewayId, HubName};
use downlink_domain::limits::{HubOperation, WANTS_PER_OPERATION, share};
use downlink_ports::{LimitsApi, PeerError, RateShares, Wants};
use downlink_runtime::{Lifecycle, OnError};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, info, warn};

use super::{Limits, LimitsMetrics};
use crate::options::GatewayOptions;
use crate::peers::Peers;

/// How long one ask, and one exchange, may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// Longest pause after asks that failed.
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Gateways for which the exchange interval holds; with more it grows, so that the directory has no more to do with
/// many gateways each of which hears of all.
const FEW_GATEWAYS: u32 = 16;
/// What an even share is divided by for the least that a gateway has: enough to begin with until the next exchange.
const LEAST_PART: f64 = 4.0;

/// Keeps the limits of one hub.
pub struct LimitsKeeper {
    /// What it keeps.
    pub limits: Arc<Limits>,
    /// Who knows what is stated.
    pub api: Arc<dyn LimitsApi>,
    /// How gateways hear of each other.
    pub rates: Arc<dyn RateShares>,
    /// Whose limits they are.
    pub hub: HubName,
    /// This gateway.
    pub gateway: GatewayId,
}

impl LimitsKeeper {
    /// Makes the limits of a hub and keeps them in the scope `lifecycle`.
    pub fn start(
        options: &GatewayOptions,
        peers: &Peers,
        metrics: LimitsMetrics,
        lifecycle: &Lifecycle,
    ) -> Arc<Limits> {
        let limits = Arc::new(Limits::new(options.limits.clone(), metrics));
        let keeper = Self {
            limits: Arc::clone(&limits),
            api: Arc::clone(&peers.limits),
            rates: Arc::clone(&peers.rates),
            hub: options.hub.clone(),
            gateway: options.id.clone(),
        };
        let keeping = keeper.run(lifecycle.clone());
        lifecycle.spawn("limits keeper", OnError::Shutdown, keeping);
        limits
    }

    /// Keeps the limits until `scope` drains, then gives its part to the others.
    pub async fn run(self, scope: Lifecycle) {
        let keeping = async {
            tokio::join!(self.look(), self.share());
        };
        tokio::select! {
            () = keeping => {}
            () = scope.draining() => {}
        }
        let leaving = self.rates.leave(&self.hub, &self.gateway);
        // Its word ends by itself too.
        let _ = timeout(DEADLINE, leaving).await;
    }

    /// Asks what is stated for ever.
    async fn look(&self) {
        let interval = self.limits.options().refresh_interval;
        let mut failures: u32 = 0;
        loop {
            let due = Instant::now() + interval;
            match self.ask().await {
                Ok(()) if failures > 0 => {
                    info!(failures, "limits can be read again");
                    failures = 0;
                }
                Ok(()) => {}
                Err(error) => {
                    if failures == 0 {
                        warn!(%error, "limits cannot be read, the last known ones hold");
                    }
                    failures = failures.saturating_add(1);
                    let pause = interval.saturating_mul(1 << failures.min(8));
                    sleep(pause.min(MAX_PAUSE)).await;
                    continue;
                }
            }
            sleep_until(due).await;
        }
    }

    /// Asks once.
    ///
    /// # Errors
    /// Those of the twin service; what was known stays.
    pub async fn ask(&self) -> Result<(), PeerError> {
        let known = self.limits.stated().map(|stated| stated.version);
        let asking = timeout(DEADLINE, self.api.limits(self.hub.clone(), known)).await;
        let late = PeerError::DeadlineExceeded { service: "twin" };
        if let Some(snapshot) = asking.map_err(|_| late)?? {
            debug!(version = snapshot.version, "limits are read");
            self.limits.take(Some(snapshot));
        }
        Ok(())
    }

    /// Exchanges wants for ever, while there is anything to share.
    async fn share(&self) {
        let interval = self.limits.options().exchange_interval;
        let mut sharing = Sharing::new();
        loop {
            if self.limits.has_lanes.load(Ordering::Relaxed) {
                self.exchange(&mut sharing).await;
            }
            let crowd = sharing.gateways.div_ceil(FEW_GATEWAYS).max(1);
            sleep(interval.saturating_mul(crowd)).await;
        }
    }

    async fn exchange(&self, sharing: &mut Sharing) {
        let options = self.limits.options();
        let now = Instant::now();
        let wants = self.limits.wants(now - sharing.said_at, sharing.gateways);
        sharing.said_at = now;
        let ttl = options.share_timeout.max(Duration::from_secs(1));
        let exchanging = self.rates.exchange(&self.hub, &self.gateway, wants, ttl);
        let metrics = &self.limits.metrics;
        if let Ok(Ok(heard)) = timeout(DEADLINE, exchanging).await {
            metrics.exchanged.increment();
            if std::mem::take(&mut sharing.is_alone) {
                info!("the gateways share their rates again");
            }
            sharing.heard_at = Instant::now();
            sharing.gateways = u32::try_from(heard.len()).unwrap_or(u32::MAX).max(1);
            self.limits.divide(&self.gateway, wants, &heard);
            return;
        }
        metrics.not_exchanged.increment();
        if sharing.heard_at.elapsed() < options.share_timeout {
            return;
        }
        if !std::mem::replace(&mut sharing.is_alone, true) {
            let gateways = sharing.gateways;
            warn!(
                gateways,
                "wants cannot be exchanged: each gateway takes an even share"
            );
        }
        self.limits.divide_evenly(sharing.gateways);
    }
}

/// How the gateways stand.
struct Sharing {
    said_at: Instant,
    heard_at: Instant,
    /// How many there were at the last exchange.
    gateways: u32,
    /// Whether no wants were exchanged for so long that they count no more.
    is_alone: bool,
}

impl Sharing {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            said_at: now,
            heard_at: now,
            gateways: 1,
            is_alone: false,
        }
    }
}

impl Limits {
    /// What this gateway wants of each class, by what was asked for in `elapsed`.
    fn wants(&self, elapsed: Duration, gateways: u32) -> Wants {
        std::array::from_fn(|place| {
            let lane = &self.lanes[place];
            let even =
                |rate: downlink_domain::limits::Rate| rate.per_second() / f64::from(gateways);
            lane.want(elapsed, lane.rate().map_or(0.0, even))
        })
    }

    /// Takes this gateway's share by what all want.
    pub(super) fn divide(&self, own: &GatewayId, said: Wants, heard: &[(GatewayId, Wants)]) {
        let now = Instant::now();
        // In an order that all have; a word of this gateway that got lost counts as said.
        let mut words: Vec<(&GatewayId, &Wants)> = heard
            .iter()
            .map(|(gateway, wants)| (gateway, wants))
            .collect();
        if !words.iter().any(|(gateway, _)| *gateway == own) {
            words.push((own, &said));
        }
        words.sort_by_key(|(gateway, _)| *gateway);
        let mine = words.iter().position(|(gateway, _)| *gateway == own);
        let count = f64::from(u32::try_from(words.len()).unwrap_or(u32::MAX));
        for operation in HubOperation::ALL {
            let lane = &self.lanes[operation.place()];
            let Some(rate) = lane.rate().map(downlink_domain::limits::Rate::per_second) else {
                continue;
            };
            let wants: Vec<u32> = words
                .iter()
                .map(|(_, wants)| wants[operation.place()])
                .collect();
            let scaled = share(rate * WANTS_PER_OPERATION, &wants, mine.unwrap_or(0));
            let least = rate / (LEAST_PART * count);
            lane.set_share((scaled / WANTS_PER_OPERATION).max(least), now);
        }
    }

    /// Takes an even share.
    pub(super) fn divide_evenly(&self, gateways: u32) {
        let now = Instant::now();
        for lane in &self.lanes {
            if let Some(rate) = lane.rate() {
                lane.set_share(rate.per_second() / f64::from(gateways.max(1)), now);
            }
        }
    }
}
