//! Metrics of the relay, declared where there is one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use downlink_domain::Timestamp;
use downlink_domain::event::{Event, EventKind};
use downlink_ports::Backlog;
use downlink_runtime::telemetry::HotCounter;
use opentelemetry::metrics::{Histogram, Meter};

use crate::metrics::{labelled, plain};

const KINDS: [EventKind; 6] = EventKind::ALL;

/// Every metric of the relay.
pub(super) struct RelayMetrics {
    published: [HotCounter; KINDS.len()],
    pub(super) failures: HotCounter,
    pub(super) backlog: BacklogGauges,
    duration: Histogram<f64>,
}

/// What waits in the outbox, as last measured.
#[derive(Clone, Debug, Default)]
pub(super) struct BacklogGauges {
    events: Arc<AtomicU64>,
    /// Milliseconds for which the oldest event has waited.
    age: Arc<AtomicU64>,
}

impl RelayMetrics {
    pub(super) fn declare(meter: &Meter) -> Self {
        let published = labelled(
            meter,
            (
                "downlink.queue.relay.events",
                "events published and removed from the outbox",
            ),
            "kind",
            KINDS.map(EventKind::as_str),
        );
        let [failures] = plain(
            meter,
            "downlink.queue.relay.failures",
            "claims of which not everything was published",
        );
        let duration = meter
            .f64_histogram("downlink.queue.relay.publish.duration")
            .with_unit("s")
            .with_description("time until the log had a batch, or the part of it that it took")
            .with_boundaries(vec![
                0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0,
            ])
            .build();
        Self {
            published,
            failures,
            backlog: BacklogGauges::declare(meter),
            duration,
        }
    }

    pub(super) fn on_published(&self, events: &[Event]) {
        for (kind, counter) in KINDS.iter().zip(&self.published) {
            let count = events.iter().filter(|event| event.kind == *kind).count();
            counter.add(count as u64);
        }
    }

    pub(super) fn on_answer(&self, elapsed: Duration) {
        self.duration.record(elapsed.as_secs_f64(), &[]);
    }
}

impl BacklogGauges {
    fn declare(meter: &Meter) -> Self {
        let gauges = Self::default();
        let events = Arc::clone(&gauges.events);
        meter
            .u64_observable_gauge("downlink.queue.relay.backlog.events")
            .with_description("events that wait to be published")
            .with_callback(move |observer| observer.observe(events.load(Ordering::Relaxed), &[]))
            .build();
        let age = Arc::clone(&gauges.age);
        meter
            .f64_observable_gauge("downlink.queue.relay.backlog.age")
            .with_unit("s")
            .with_description("how long the oldest event has waited")
            .with_callback(move |observer| {
                let age = Duration::from_millis(age.load(Ordering::Relaxed));
                observer.observe(age.as_secs_f64(), &[]);
            })
            .build();
        gauges
    }

    pub(super) fn set(&self, backlog: Backlog, now: Timestamp) {
        let age = backlog.oldest.map_or(Duration::ZERO, |at| now.since(at));
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        self.events.store(backlog.events, Ordering::Relaxed);
        self.age.store(age, Ordering::Relaxed);
    }
}
