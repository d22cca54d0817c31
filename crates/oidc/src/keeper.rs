//! Keeps the keys of one issuer: read at the start and again and again, by one task.
//!
//! Whatever tokens ask for, one look is under way at most, and tokens cause one in each interval at
//! most. Keys that were read are kept until others are, for as long as the issuer may be away.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use downlink_domain::Timestamp;
use downlink_ports::Clock;
use downlink_runtime::{Lifecycle, OnError};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use tracing::{debug, warn};

use crate::fetch::Fetcher;
use crate::key::KeySet;
use crate::metrics::OidcMetrics;
use crate::options::IssuerOptions;

/// How soon a look that failed is repeated, doubling from the first to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What is known of the keys of an issuer.
#[derive(Clone, Default)]
struct Known {
    keys: Arc<KeySet>,
    /// When they were read; `None` before the first time.
    read_at: Option<Timestamp>,
    /// Looks that ended, at most `u64::MAX`.
    looks: u64,
    /// The last wish that was there before a look that ended began.
    served: u64,
    /// Whether the last look brought keys.
    is_fresh: bool,
}

/// The keys of an issuer as they are now.
pub(crate) struct View {
    /// The keys; none when there are none yet, or they are too old.
    pub keys: Option<Arc<KeySet>>,
    /// Whether the last look brought them: a key that is missing is not published.
    pub is_fresh: bool,
}

/// Wishes of tokens that name keys which are not there, counted.
#[derive(Default)]
struct Wishes {
    made: Mutex<Made>,
    is_made: Notify,
}

#[derive(Clone, Copy, Default)]
struct Made {
    count: u64,
    last_at: Option<Timestamp>,
}

impl Wishes {
    /// Makes a wish unless the last one is younger than `interval`, and returns how many were made.
    fn make(&self, now: Timestamp, interval: Duration) -> u64 {
        let mut made = self.made.lock();
        if made.last_at.is_none_or(|last| now >= last + interval) {
            made.last_at = Some(now);
            made.count += 1;
            self.is_made.notify_one();
        }
        made.count
    }

    fn count(&self) -> u64 {
        self.made.lock().count
    }

    /// Waits until there are more than `served`.
    async fn beyond(&self, served: u64) {
        while self.count() <= served {
            self.is_made.notified().await;
        }
    }
}

/// The keys of one issuer.
pub(crate) struct Keeper {
    known: watch::Receiver<Known>,
    wishes: Arc<Wishes>,
    clock: Arc<dyn Clock>,
    interval: Duration,
    stale_limit: Duration,
    patience: Duration,
}

impl Keeper {
    /// Starts the task that keeps the keys. It serves until the process halts: tokens are verified
    /// while the doors drain.
    pub(crate) fn start(
        options: &IssuerOptions,
        fetcher: Fetcher,
        clock: Arc<dyn Clock>,
        metrics: OidcMetrics,
        lifecycle: &Lifecycle,
    ) -> Self {
        let (sender, known) = watch::channel(Known::default());
        let wishes: Arc<Wishes> = Arc::default();
        let task = Task {
            issuer: options.issuer.clone(),
            refresh_interval: options.refresh_interval,
            fetcher,
            metrics,
            clock: Arc::clone(&clock),
            wishes: Arc::clone(&wishes),
            known: sender,
        };
        lifecycle.spawn_background("oidc-keys", OnError::Log, task.run());
        Self {
            known,
            wishes,
            clock,
            interval: options.unknown_key_interval,
            stale_limit: options.stale_limit,
            // Two looks, one of which was under way; each ends by itself.
            patience: options.fetch_timeout * 2,
        }
    }

    /// The keys as they are now.
    pub(crate) fn view(&self) -> View {
        let known = self.known.borrow();
        let now = self.clock.now();
        let is_usable = known
            .read_at
            .is_some_and(|read_at| now < read_at + self.stale_limit);
        View {
            keys: is_usable.then(|| Arc::clone(&known.keys)),
            is_fresh: known.is_fresh,
        }
    }

    /// The keys after another look, if one is allowed now or under way; else as they are.
    ///
    /// # Cancellation
    /// Safe: the task looks by itself.
    pub(crate) async fn newer(&self) -> View {
        let mut known = self.known.clone();
        let is_first = known.borrow().looks == 0;
        let wishes = if is_first {
            0
        } else {
            self.wishes.make(self.clock.now(), self.interval)
        };
        let ended = known.wait_for(|known| known.looks > 0 && known.served >= wishes);
        // Late, or the process ends: what is known stands.
        let _ = timeout(self.patience, ended).await.is_ok();
        self.view()
    }
}

/// What the task needs.
struct Task {
    issuer: String,
    refresh_interval: Duration,
    fetcher: Fetcher,
    metrics: OidcMetrics,
    clock: Arc<dyn Clock>,
    wishes: Arc<Wishes>,
    known: watch::Sender<Known>,
}

impl Task {
    async fn run(self) {
        let (mut retry, longest) = RETRY;
        loop {
            let wishes = self.wishes.count();
            let pause = if self.look(wishes).await {
                retry = RETRY.0;
                self.refresh_interval
            } else {
                let pause = retry.min(self.refresh_interval);
                retry = (retry * 2).min(longest);
                pause
            };
            let next = self.clock.now() + pause;
            tokio::select! {
                () = self.clock.sleep_until(next) => {}
                () = self.wishes.beyond(wishes) => {}
            }
        }
    }

    /// Looks once and tells whether there were keys.
    async fn look(&self, wishes: u64) -> bool {
        let outcome = self.fetcher.fetch().await;
        let now = self.clock.now();
        self.metrics.fetched(outcome.is_ok());
        let is_fresh = outcome.is_ok();
        match &outcome {
            Ok(keys) => debug!(issuer = %self.issuer, keys = keys.len(), "keys of an issuer read"),
            Err(error) => warn!(
                issuer = %self.issuer,
                error = %Chain(error),
                "keys of an issuer cannot be read"
            ),
        }
        self.known.send_modify(|known| {
            if let Ok(keys) = outcome {
                known.keys = Arc::new(keys);
                known.read_at = Some(now);
            }
            known.is_fresh = is_fresh;
            known.looks = known.looks.saturating_add(1);
            known.served = wishes;
        });
        is_fresh
    }
}

/// An error with its sources, on one line.
struct Chain<'a>(&'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
