//! Instruments of the sweeper.

use downlink_runtime::telemetry::{HotCounter, InstrumentSpec, hot_counters};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

/// Counters with every label settled.
#[derive(Clone, Debug)]
pub(crate) struct SweepMetrics {
    /// Connections whose gateway is gone.
    pub(super) lost: HotCounter,
    /// Connections that no gateway has.
    pub(super) vanished: HotCounter,
    /// Rounds that failed.
    pub(super) failures: HotCounter,
}

impl SweepMetrics {
    pub(super) fn new(meter: &Meter) -> Self {
        let ended = InstrumentSpec {
            name: "downlink.twin.connections.ended",
            unit: "",
            description: "connections that were ended because nobody holds them any more, by cause",
        };
        let causes = ["gateway_lost", "vanished"];
        let [lost, vanished] = hot_counters(
            meter,
            ended,
            causes.map(|cause| vec![KeyValue::new("cause", cause)]),
        );
        let failed = InstrumentSpec {
            name: "downlink.twin.connections.sweep_failures",
            unit: "",
            description: "rounds of the connection sweeper that failed",
        };
        let [failures] = hot_counters(meter, failed, [Vec::new()]);
        Self {
            lost,
            vanished,
            failures,
        }
    }
}
