//! Instruments of the limits.

use downlink_domain::limits::{DeviceOperation, HubOperation};
use downlink_runtime::telemetry::{HotCounter, hot_counters};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::metrics::spec;

/// Instruments of the limits of a gateway, all its hubs together.
#[derive(Clone, Debug)]
pub struct LimitsMetrics {
    hub_delayed: [HotCounter; HubOperation::COUNT],
    hub_refused: [HotCounter; HubOperation::COUNT],
    device_delayed: [HotCounter; DeviceOperation::COUNT],
    device_refused: [HotCounter; DeviceOperation::COUNT],
    /// Wants told to the other gateways, and theirs heard.
    pub exchanged: HotCounter,
    /// Exchanges that failed.
    pub not_exchanged: HotCounter,
}

impl LimitsMetrics {
    /// Declares the instruments.
    pub fn new(meter: &Meter) -> Self {
        let [hub_delayed, device_delayed] = [
            spec(
                "downlink.gateway.limits.hub.delayed",
                "operations that waited for their turn of the hub's rate",
            ),
            spec(
                "downlink.gateway.limits.device.delayed",
                "operations that waited for their turn of a device's rate",
            ),
        ];
        let [hub_refused, device_refused] = [
            spec(
                "downlink.gateway.limits.hub.refused",
                "operations refused because the hub's rate was exceeded",
            ),
            spec(
                "downlink.gateway.limits.device.refused",
                "operations refused because a device's rate was exceeded",
            ),
        ];
        let hub = || std::array::from_fn(|place| vec![label(HubOperation::ALL[place].name())]);
        let device =
            || std::array::from_fn(|place| vec![label(DeviceOperation::ALL[place].name())]);
        let [exchanged, not_exchanged] = hot_counters(
            meter,
            spec(
                "downlink.gateway.limits.exchanges",
                "exchanges of wants with the other gateways, by outcome",
            ),
            ["exchanged", "failed"].map(|outcome| vec![KeyValue::new("outcome", outcome)]),
        );
        Self {
            hub_delayed: hot_counters(meter, hub_delayed, hub()),
            hub_refused: hot_counters(meter, hub_refused, hub()),
            device_delayed: hot_counters(meter, device_delayed, device()),
            device_refused: hot_counters(meter, device_refused, device()),
            exchanged,
            not_exchanged,
        }
    }

    pub(super) fn hub_delayed(&self, operation: HubOperation) {
        self.hub_delayed[operation.place()].increment();
    }

    pub(super) fn hub_refused(&self, operation: HubOperation) {
        self.hub_refused[operation.place()].increment();
    }

    pub(super) fn device_delayed(&self, operation: DeviceOperation) {
        self.device_delayed[operation.place()].increment();
    }

    pub(super) fn device_refused(&self, operation: DeviceOperation) {
        self.device_refused[operation.place()].increment();
    }
}

fn label(operation: &'static str) -> KeyValue {
    KeyValue::new("operation", operation)
}
