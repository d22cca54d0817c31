//! The relay: takes events out of the outbox and hands them to the log that others read.
//!
//! Workers claim a lane, publish its oldest events and remove those that the log has. They are
//! woken by what this node writes and look at intervals for what other nodes wrote. Any number of
//! nodes may relay from one outbox.
//!
//! While the log takes nothing, one worker of the node tries again with a single event, ever more
//! rarely; the others wait, and no claim is held in between. Nothing is lost by that: events stay
//! in the outbox, within its bounds. Beyond them (`QueueOptions::outbox`: older than the retention,
//! or more than the number) the oldest are shed although nobody has read them, which is counted
//! (`downlink.queue.events{outcome="shed"}`) and logged: an outage longer than the outbox can hold
//! costs its oldest events, not the database.

use std::sync::Arc;
use std::time::Duration;

use downlink_ports::{EventRelay, EventSink};
use downlink_runtime::{Lifecycle, OnError};
use tokio::sync::Notify;
use tracing::debug;

use self::health::Health;
use self::metrics::RelayMetrics;
use self::worker::Worker;
use crate::service::Shared;

mod health;
mod metrics;
#[cfg(test)]
mod tests;
mod worker;

/// Where events come from and go to.
#[derive(Clone)]
pub struct RelayDeps {
    /// The outbox, claimed lane by lane.
    pub source: Arc<dyn EventRelay>,
    /// The log.
    pub sink: Arc<dyn EventSink>,
}

/// What an operator may set about the relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayOptions {
    /// Lanes that this node relays at once, 1–16; each may hold one connection of the store.
    pub workers: usize,
    /// Most events of one claim, 1–10,000.
    pub batch: u32,
    /// How long a claimed batch may take to be acknowledged; what is not is sent again.
    pub publish_timeout: Duration,
    /// How long the store keeps a claim for this node, at least 5 s more than `publish_timeout`.
    pub hold: Duration,
    /// Mean time between two looks for events that other nodes wrote.
    pub idle_interval: Duration,
    /// How long a worker lets events gather after it was woken, so that not each has a claim of
    /// its own; at most 1 s.
    pub gather: Duration,
    /// How long a single event may take while the log is tried again.
    pub probe_timeout: Duration,
    /// Longest mean pause between two tries; the first is after 200 ms.
    pub max_pause: Duration,
    /// How often the backlog is measured.
    pub backlog_interval: Duration,
}

impl Default for RelayOptions {
    fn default() -> Self {
        Self {
            workers: 2,
            batch: 1_000,
            publish_timeout: Duration::from_secs(20),
            hold: Duration::from_mins(1),
            idle_interval: Duration::from_secs(1),
            gather: Duration::from_millis(5),
            probe_timeout: Duration::from_secs(5),
            max_pause: Duration::from_secs(10),
            backlog_interval: Duration::from_secs(15),
        }
    }
}

impl RelayOptions {
    pub(crate) fn checks(&self) -> [(&'static str, bool, &'static str); 7] {
        let margin = Duration::from_secs(5);
        let most = Duration::from_mins(10);
        let within = |value: Duration| !value.is_zero() && value <= most;
        let is_hold =
            within(self.hold) && self.hold >= self.publish_timeout.max(self.probe_timeout) + margin;
        [
            ("relay.workers", (1..=16).contains(&self.workers), "1 to 16"),
            (
                "relay.batch",
                (1..=10_000).contains(&self.batch),
                "1 to 10,000",
            ),
            (
                "relay.publish_timeout",
                within(self.publish_timeout) && within(self.probe_timeout),
                "above 0 and at most 10 minutes",
            ),
            (
                "relay.hold",
                is_hold,
                "at least 5 s above the timeouts and at most 10 minutes",
            ),
            (
                "relay.idle_interval",
                within(self.idle_interval) && within(self.backlog_interval),
                "above 0 and at most 10 minutes",
            ),
            (
                "relay.gather",
                self.gather <= Duration::from_secs(1),
                "at most 1 s",
            ),
            (
                "relay.max_pause",
                within(self.max_pause),
                "above 0 and at most 10 minutes",
            ),
        ]
    }
}

/// Tells the workers that this node wrote events.
#[derive(Debug, Default)]
pub(crate) struct Arrivals(Notify);

impl Arrivals {
    /// Wakes one worker, or the next that is about to wait.
    pub(crate) fn announce(&self) {
        self.0.notify_one();
    }

    async fn next(&self) {
        self.0.notified().await;
    }
}

/// What the workers of a node share.
struct Crew {
    shared: Arc<Shared>,
    deps: RelayDeps,
    health: Health,
    metrics: RelayMetrics,
}

impl Crew {
    fn options(&self) -> &RelayOptions {
        &self.shared.options.relay
    }
}

/// Starts the workers of this node.
pub(crate) fn start(shared: &Arc<Shared>, deps: RelayDeps, lifecycle: &Lifecycle) {
    let crew = Arc::new(Crew {
        shared: Arc::clone(shared),
        deps,
        health: Health::default(),
        metrics: RelayMetrics::declare(&shared.deps.meter),
    });
    for _ in 0..shared.options.relay.workers {
        let worker = Worker::new(Arc::clone(&crew));
        lifecycle.spawn("event relay", OnError::Shutdown, worker.run());
    }
    lifecycle.spawn("event backlog", OnError::Shutdown, run_backlog(crew));
}

/// Measures the backlog until the service drains.
async fn run_backlog(crew: Arc<Crew>) {
    let clock = &crew.shared.deps.clock;
    loop {
        match crew.deps.source.backlog().await {
            Ok(backlog) => crew.metrics.backlog.set(backlog, clock.now()),
            Err(error) => debug!(%error, "the backlog of events could not be measured"),
        }
        tokio::select! {
            () = crew.shared.drain.cancelled() => return,
            () = tokio::time::sleep(crew.options().backlog_interval) => {}
        }
    }
}
