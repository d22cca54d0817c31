//! One worker: claim, publish, remove, again.

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::event::Event;
use downlink_ports::StoreError;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::Crew;
use crate::expire::jittered;

/// How much longer a batch that is under way may take once the service drains.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// See the module's words.
pub(super) struct Worker {
    crew: Arc<Crew>,
}

/// What came of one claim.
enum Turn {
    /// Nothing waits, or other workers have it, or as many claims as there may be.
    Idle,
    /// The log has everything that was claimed; `is_full` when there may be more of it.
    Published { is_full: bool },
    /// The log did not take everything, or the store did not answer.
    Failed,
}

impl Worker {
    pub(super) fn new(crew: Arc<Crew>) -> Self {
        Self { crew }
    }

    /// Relays until the service drains. No claim is left open.
    pub(super) async fn run(self) {
        let drain = self.crew.shared.drain.clone();
        while !drain.is_cancelled() {
            let trial = tokio::select! {
                trial = self.crew.health.trial() => trial,
                () = drain.cancelled() => return,
            };
            let Some(trial) = trial else {
                self.relay().await;
                continue;
            };
            let pause = jittered(
                &self.crew.shared,
                trial.pause(self.crew.options().max_pause),
            );
            tokio::select! {
                () = sleep(pause) => {}
                () = drain.cancelled() => return,
            }
            match self.turn(1, self.crew.options().probe_timeout).await {
                Turn::Failed => trial.failed(),
                Turn::Idle | Turn::Published { .. } => {
                    trial.succeeded();
                    info!("events are relayed again");
                }
            }
        }
    }

    /// One claim of a whole batch, and the wait for what comes next.
    async fn relay(&self) {
        let options = self.crew.options();
        match self.turn(options.batch, options.publish_timeout).await {
            Turn::Failed => {
                self.crew.health.fail();
                warn!("events are not relayed now; they wait in the outbox");
            }
            Turn::Published { is_full } => {
                if is_full {
                    // There is work for another worker as well.
                    self.crew.shared.arrivals.announce();
                }
            }
            Turn::Idle => self.wait().await,
        }
    }

    /// Waits for events of this node, or for the time to look for those of others.
    async fn wait(&self) {
        let shared = &self.crew.shared;
        let idle = jittered(shared, self.crew.options().idle_interval);
        tokio::select! {
            () = shared.arrivals.next() => {
                tokio::select! {
                    () = sleep(self.crew.options().gather) => {}
                    () = shared.drain.cancelled() => {}
                }
            }
            () = sleep(idle) => {}
            () = shared.drain.cancelled() => {}
        }
    }

    async fn turn(&self, limit: u32, within: Duration) -> Turn {
        match self.try_turn(limit, within).await {
            Ok(turn) => turn,
            Err(error) => {
                self.crew.shared.metrics.store_failures.increment();
                debug!(%error, "the outbox could not be relayed");
                Turn::Failed
            }
        }
    }

    async fn try_turn(&self, limit: u32, within: Duration) -> Result<Turn, StoreError> {
        let hold = self.crew.options().hold;
        let claimed = match self.crew.deps.source.claim(limit, hold).await {
            // The claims of other workers are all that the store allows; the log may be well.
            Ok(None) | Err(StoreError::Overloaded) => return Ok(Turn::Idle),
            Ok(Some(claimed)) => claimed,
            Err(error) => return Err(error),
        };
        let all = claimed.events().len();
        let is_full = all >= limit as usize;
        let sent = self.publish(claimed.events(), within).await.min(all);
        let metrics = &self.crew.metrics;
        metrics.on_published(&claimed.events()[..sent]);
        claimed.finish(sent).await?;
        if sent == all {
            return Ok(Turn::Published { is_full });
        }
        metrics.failures.increment();
        debug!(all, sent, "not all claimed events were published");
        Ok(Turn::Failed)
    }

    /// Publishes what is claimed; returns how many of the first events the log has. When the
    /// service drains it waits no longer than [`LAST_WORDS`], and what was sent is sent again.
    async fn publish(&self, events: &[Event], within: Duration) -> usize {
        let started = Instant::now();
        let publish = self.crew.deps.sink.publish(events, within);
        tokio::pin!(publish);
        let sent = tokio::select! {
            sent = publish.as_mut() => sent,
            () = self.crew.shared.drain.cancelled() => {
                timeout(LAST_WORDS, publish).await.unwrap_or(0)
            }
        };
        self.crew.metrics.on_answer(started.elapsed());
        sent
    }
}
