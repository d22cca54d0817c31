//! Instruments for hot paths: recording is one relaxed atomic addition, the labels were settled beforehand.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

/// What an instrument is called and means.
#[derive(Clone, Copy, Debug)]
pub struct InstrumentSpec {
    /// `downlink.<service>.<noun>[.<aspect>]`.
    pub name: &'static str,
    /// A unit such as `By` or `s`; empty for counts.
    pub unit: &'static str,
    /// One line for the reader of a dashboard.
    pub description: &'static str,
}

/// A cache line of its own: neighbouring counters bumped on different cores must not slow each other.
#[derive(Debug, Default)]
#[repr(align(64))]
struct CacheLine<T>(T);

/// A counter with fixed labels; clones count together.
#[derive(Clone, Debug, Default)]
pub struct HotCounter {
    cell: Arc<CacheLine<AtomicU64>>,
}

impl HotCounter {
    /// Counts one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Counts `count`.
    pub fn add(&self, count: u64) {
        self.cell.0.fetch_add(count, Ordering::Relaxed);
    }

    /// Returns the count so far.
    pub fn value(&self) -> u64 {
        self.cell.0.load(Ordering::Relaxed)
    }
}

/// A level that rises and falls; clones are the same level.
#[derive(Clone, Debug, Default)]
pub struct HotGauge {
    cell: Arc<CacheLine<AtomicI64>>,
}

impl HotGauge {
    /// Raises the level, or lowers it if `change` is negative.
    pub fn add(&self, change: i64) {
        self.cell.0.fetch_add(change, Ordering::Relaxed);
    }

    /// Returns the level now.
    pub fn value(&self) -> i64 {
        self.cell.0.load(Ordering::Relaxed)
    }
}

/// Declares one metric with a counter for each of its label sets.
///
/// Labels come from closed enums; a device id is never a label.
pub fn hot_counters<const N: usize>(
    meter: &Meter,
    spec: InstrumentSpec,
    labels: [Vec<KeyValue>; N],
) -> [HotCounter; N] {
    let counters: [HotCounter; N] = std::array::from_fn(|_| HotCounter::default());
    let observed = counters.clone();
    meter
        .u64_observable_counter(spec.name)
        .with_unit(spec.unit)
        .with_description(spec.description)
        .with_callback(move |observer| {
            for (counter, labels) in observed.iter().zip(&labels) {
                observer.observe(counter.value(), labels);
            }
        })
        .build();
    counters
}

/// Declares a level without labels.
pub fn hot_gauge(meter: &Meter, spec: InstrumentSpec) -> HotGauge {
    let [gauge] = hot_gauges(meter, spec, [vec![]]);
    gauge
}

/// Declares one metric with a level for each of its label sets.
///
/// Labels come from closed enums; a device id is never a label.
pub fn hot_gauges<const N: usize>(
    meter: &Meter,
    spec: InstrumentSpec,
    labels: [Vec<KeyValue>; N],
) -> [HotGauge; N] {
    let gauges: [HotGauge; N] = std::array::from_fn(|_| HotGauge::default());
    let observed = gauges.clone();
    meter
        .i64_observable_up_down_counter(spec.name)
        .with_unit(spec.unit)
        .with_description(spec.description)
        .with_callback(move |observer| {
            for (gauge, labels) in observed.iter().zip(&labels) {
                observer.observe(gauge.value(), labels);
            }
        })
        .build();
    gauges
}

#[cfg(test)]
mod tests {
    use opentelemetry::KeyValue;

    use super::{InstrumentSpec, hot_counters, hot_gauge, hot_gauges};
    use crate::telemetry::Metrics;

    #[test]
    fn what_was_recorded_is_rendered_with_its_labels() {
        let metrics = Metrics::new("downlink-test").unwrap();
        let meter = metrics.meter("test");
        let spec = InstrumentSpec {
            name: "downlink.test.messages",
            unit: "",
            description: "messages, by outcome",
        };
        let outcome = |value| vec![KeyValue::new("outcome", value)];
        let [completed, expired] =
            hot_counters(&meter, spec, [outcome("completed"), outcome("expired")]);
        let spec = InstrumentSpec {
            name: "downlink.test.sockets",
            unit: "",
            description: "open sockets",
        };
        let open = hot_gauge(&meter, spec);
        let spec = InstrumentSpec {
            name: "downlink.test.links",
            unit: "",
            description: "links attached, by kind",
        };
        let kind = |value| vec![KeyValue::new("kind", value)];
        let [near, far] = hot_gauges(&meter, spec, [kind("near"), kind("far")]);
        let sizes = meter
            .u64_histogram("downlink.test.batch")
            .with_unit("By")
            .build();

        completed.add(41);
        completed.clone().increment();
        expired.increment();
        open.add(3);
        open.add(-1);
        near.add(5);
        far.add(7);
        far.add(-7);
        sizes.record(100, &[]);

        let text = String::from_utf8(metrics.render().unwrap()).unwrap();
        for line in [
            "# HELP downlink_test_messages_total messages, by outcome",
            "# TYPE downlink_test_messages_total counter",
            "downlink_test_messages_total{outcome=\"completed\"} 42",
            "downlink_test_messages_total{outcome=\"expired\"} 1",
            "# TYPE downlink_test_sockets gauge",
            "downlink_test_sockets 2",
            "downlink_test_links{kind=\"near\"} 5",
            "downlink_test_links{kind=\"far\"} 0",
            "downlink_test_batch_bytes_sum 100",
            "target_info{service_name=\"downlink-test\"} 1",
        ] {
            assert!(
                text.lines().any(|rendered| rendered == line),
                "{line} not in\n{text}"
            );
        }
    }
}
