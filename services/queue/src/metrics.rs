//! Metrics of the service, declared once.

use std::time::Instant;

use downlink_domain::message::Verdict;
use downlink_ports::{EnqueueError, Enqueued};
use downlink_runtime::telemetry::{HotCounter, InstrumentSpec, hot_counters};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

/// Every metric of the service.
pub(crate) struct QueueMetrics {
    pub(crate) enqueues: Enqueues,
    pub(crate) deliveries: Deliveries,
    pub(crate) settlements: Settlements,
    pub(crate) sweeps: Sweeps,
    pub(crate) purged: HotCounter,
    pub(crate) wakes: WakeOutcomes,
    pub(crate) feedback: FeedbackCounts,
    pub(crate) events: EventCounts,
    pub(crate) store_failures: HotCounter,
    pub(crate) batches: Batches,
}

/// Messages offered by senders, by outcome.
pub(crate) struct Enqueues {
    accepted: HotCounter,
    device_not_found: HotCounter,
    queue_full: HotCounter,
    too_large: HotCounter,
    invalid_expiry: HotCounter,
    invalid_property: HotCounter,
    unavailable: HotCounter,
}

/// Messages handed out.
pub(crate) struct Deliveries {
    pub(crate) first: HotCounter,
    pub(crate) repeated: HotCounter,
}

/// Settlements, by verdict; those without a lock apart.
pub(crate) struct Settlements {
    complete: HotCounter,
    abandon: HotCounter,
    reject: HotCounter,
    release_delivered: HotCounter,
    release_undelivered: HotCounter,
    pub(crate) lock_lost: HotCounter,
}

/// What sweeps made visible.
pub(crate) struct Sweeps {
    pub(crate) expired: HotCounter,
    pub(crate) exhausted: HotCounter,
    pub(crate) lapsed_devices: HotCounter,
}

/// Devices to be woken, by what became of it.
pub(crate) struct WakeOutcomes {
    pub(crate) sent: HotCounter,
    pub(crate) absent: HotCounter,
    pub(crate) dropped: HotCounter,
    pub(crate) failed: HotCounter,
    pub(crate) retried: HotCounter,
}

/// Feedback handed out and dropped.
pub(crate) struct FeedbackCounts {
    pub(crate) batches: HotCounter,
    pub(crate) records: HotCounter,
    pub(crate) dropped: HotCounter,
}

/// Events taken in and shed.
pub(crate) struct EventCounts {
    pub(crate) recorded: HotCounter,
    pub(crate) shed: HotCounter,
}

/// Batches handed to the store.
pub(crate) struct Batches {
    items: Histogram<u64>,
    duration: Histogram<f64>,
}

/// A batch that is with the store.
pub(crate) struct BatchTimer<'a> {
    batches: &'a Batches,
    started: Instant,
}

impl QueueMetrics {
    pub(crate) fn declare(meter: &Meter) -> Self {
        let [purged] = plain(
            meter,
            "downlink.queue.purges.removed",
            "messages removed by purges",
        );
        let [store_failures] = plain(
            meter,
            "downlink.queue.store.failures",
            "store calls that failed",
        );
        Self {
            enqueues: Enqueues::declare(meter),
            deliveries: Deliveries::declare(meter),
            settlements: Settlements::declare(meter),
            sweeps: Sweeps::declare(meter),
            purged,
            wakes: WakeOutcomes::declare(meter),
            feedback: FeedbackCounts::declare(meter),
            events: EventCounts::declare(meter),
            store_failures,
            batches: Batches::declare(meter),
        }
    }
}

impl Enqueues {
    fn declare(meter: &Meter) -> Self {
        let [
            accepted,
            device_not_found,
            queue_full,
            too_large,
            invalid_expiry,
            invalid_property,
            unavailable,
        ] = labelled(
            meter,
            ("downlink.queue.enqueues", "messages offered by senders"),
            "outcome",
            [
                "accepted",
                "device_not_found",
                "queue_full",
                "too_large",
                "invalid_expiry",
                "invalid_property",
                "unavailable",
            ],
        );
        Self {
            accepted,
            device_not_found,
            queue_full,
            too_large,
            invalid_expiry,
            invalid_property,
            unavailable,
        }
    }

    /// Counts the answers of one call.
    pub(crate) fn count(&self, answers: &[Result<Enqueued, EnqueueError>]) {
        for answer in answers {
            let counter = match answer {
                Ok(_) => &self.accepted,
                Err(EnqueueError::DeviceNotFound(_)) => &self.device_not_found,
                Err(EnqueueError::QueueFull { .. }) => &self.queue_full,
                Err(EnqueueError::TooLarge { .. }) => &self.too_large,
                Err(EnqueueError::InvalidExpiry) => &self.invalid_expiry,
                Err(EnqueueError::InvalidProperty(_)) => &self.invalid_property,
                Err(EnqueueError::Unavailable) => &self.unavailable,
            };
            counter.increment();
        }
    }
}

impl Deliveries {
    fn declare(meter: &Meter) -> Self {
        let [first, repeated] = labelled(
            meter,
            ("downlink.queue.deliveries", "messages handed to gateways"),
            "delivery",
            ["first", "repeated"],
        );
        Self { first, repeated }
    }
}

impl Settlements {
    fn declare(meter: &Meter) -> Self {
        let [
            complete,
            abandon,
            reject,
            release_delivered,
            release_undelivered,
            lock_lost,
        ] = labelled(
            meter,
            ("downlink.queue.settlements", "settlements of held messages"),
            "outcome",
            [
                "complete",
                "abandon",
                "reject",
                "release_delivered",
                "release_undelivered",
                "lock_lost",
            ],
        );
        Self {
            complete,
            abandon,
            reject,
            release_delivered,
            release_undelivered,
            lock_lost,
        }
    }

    /// The counter of settlements with `verdict` that were made.
    pub(crate) fn of(&self, verdict: Verdict) -> &HotCounter {
        match verdict {
            Verdict::Complete => &self.complete,
            Verdict::Abandon => &self.abandon,
            Verdict::Reject => &self.reject,
            Verdict::ReleaseDelivered => &self.release_delivered,
            Verdict::ReleaseUndelivered => &self.release_undelivered,
        }
    }
}

impl Sweeps {
    fn declare(meter: &Meter) -> Self {
        let [expired, exhausted, lapsed_devices] = labelled(
            meter,
            (
                "downlink.queue.sweeps",
                "messages ended by time, and devices that got messages back",
            ),
            "effect",
            ["expired", "exhausted", "lapsed_devices"],
        );
        Self {
            expired,
            exhausted,
            lapsed_devices,
        }
    }
}

impl WakeOutcomes {
    fn declare(meter: &Meter) -> Self {
        let [sent, absent, dropped, failed, retried] = labelled(
            meter,
            (
                "downlink.queue.wakes",
                "devices to be woken, by what became of a try",
            ),
            "outcome",
            ["sent", "absent", "dropped", "failed", "retried"],
        );
        Self {
            sent,
            absent,
            dropped,
            failed,
            retried,
        }
    }
}

impl FeedbackCounts {
    fn declare(meter: &Meter) -> Self {
        let [batches] = plain(
            meter,
            "downlink.queue.feedback.batches",
            "feedback batches handed out",
        );
        let [records, dropped] = labelled(
            meter,
            ("downlink.queue.feedback.records", "feedback records"),
            "outcome",
            ["handed_out", "dropped"],
        );
        Self {
            batches,
            records,
            dropped,
        }
    }
}

impl EventCounts {
    fn declare(meter: &Meter) -> Self {
        let [recorded, shed] = labelled(
            meter,
            ("downlink.queue.events", "events of the outbox"),
            "outcome",
            ["recorded", "shed"],
        );
        Self { recorded, shed }
    }
}

impl Batches {
    fn declare(meter: &Meter) -> Self {
        let items = meter
            .u64_histogram("downlink.queue.batch.items")
            .with_description("messages in a batch of enqueues or settlements")
            .with_boundaries(vec![
                1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0,
            ])
            .build();
        let duration = meter
            .f64_histogram("downlink.queue.batch.duration")
            .with_unit("s")
            .with_description("time for which the store had a batch")
            .with_boundaries(vec![
                0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0,
            ])
            .build();
        Self { items, duration }
    }

    pub(crate) fn start(&self, items: usize) -> BatchTimer<'_> {
        self.items.record(items as u64, &[]);
        BatchTimer {
            batches: self,
            started: Instant::now(),
        }
    }
}

impl BatchTimer<'_> {
    pub(crate) fn stop(self) {
        let elapsed = self.started.elapsed().as_secs_f64();
        self.batches.duration.record(elapsed, &[]);
    }
}

pub(crate) fn plain(
    meter: &Meter,
    name: &'static str,
    description: &'static str,
) -> [HotCounter; 1] {
    let spec = InstrumentSpec {
        name,
        unit: "",
        description,
    };
    hot_counters(meter, spec, [Vec::new()])
}

pub(crate) fn labelled<const N: usize>(
    meter: &Meter,
    (name, description): (&'static str, &'static str),
    label: &'static str,
    values: [&'static str; N],
) -> [HotCounter; N] {
    let spec = InstrumentSpec {
        name,
        unit: "",
        description,
    };
    hot_counters(
        meter,
        spec,
        values.map(|value| vec![KeyValue::new(label, value)]),
    )
}
