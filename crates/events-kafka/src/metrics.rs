//! Metrics of the sink, declared once.

use downlink_runtime::telemetry::{HotCounter, HotGauge, InstrumentSpec, hot_counters, hot_gauge};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

/// Every metric of the sink.
pub(crate) struct SinkMetrics {
    /// 1 while events can be handed over.
    pub(crate) reachable: HotGauge,
    pub(crate) deadlines: HotCounter,
    pub(crate) failures: HotCounter,
    pub(crate) oversized: HotCounter,
}

impl SinkMetrics {
    pub(crate) fn declare(meter: &Meter) -> Self {
        let reachable = hot_gauge(
            meter,
            InstrumentSpec {
                name: "downlink.kafka.reachable",
                unit: "",
                description: "1 while events can be handed to Kafka",
            },
        );
        let [deadlines, failures] = hot_counters(
            meter,
            InstrumentSpec {
                name: "downlink.kafka.producers.replaced",
                unit: "",
                description: "producers that were replaced, by why",
            },
            [
                vec![KeyValue::new("reason", "deadline")],
                vec![KeyValue::new("reason", "failure")],
            ],
        );
        let [oversized] = hot_counters(
            meter,
            InstrumentSpec {
                name: "downlink.kafka.events.oversized",
                unit: "",
                description: "attempts to publish an event beyond max_record_bytes",
            },
            [Vec::new()],
        );
        Self {
            reachable,
            deadlines,
            failures,
            oversized,
        }
    }
}
