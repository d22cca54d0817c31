//! Instruments of refusals and of their records.

use downlink_runtime::telemetry::{HotCounter, InstrumentSpec, hot_counters};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::authenticate::Cause;
use crate::metrics::Door;

const DOORS: [Door; 4] = [Door::Mqtt, Door::Amqp, Door::Https, Door::Grpc];
const CAUSES: usize = Cause::ALL.len();

/// Instruments of refusals and of their records.
#[derive(Clone, Debug)]
pub struct AuditMetrics {
    /// By door, then by cause.
    refused: [HotCounter; DOORS.len() * CAUSES],
    pub(super) written: HotCounter,
    pub(super) failed: HotCounter,
    pub(super) lost: HotCounter,
}

impl AuditMetrics {
    /// Declares the instruments.
    pub fn new(meter: &Meter) -> Self {
        let refused = InstrumentSpec {
            name: "downlink.gateway.credentials.refused",
            unit: "",
            description: "credentials and rights refused, by door and cause",
        };
        let records = InstrumentSpec {
            name: "downlink.gateway.audit.records",
            unit: "",
            description: "audit records of refusals, by outcome",
        };
        let labels = std::array::from_fn(|place| {
            let (door, cause) = (DOORS[place / CAUSES], Cause::ALL[place % CAUSES]);
            vec![
                KeyValue::new("door", door.as_str()),
                KeyValue::new("cause", cause.as_str()),
            ]
        });
        let outcomes = ["written", "failed", "lost"];
        let [written, failed, lost] = hot_counters(
            meter,
            records,
            outcomes.map(|outcome| vec![KeyValue::new("outcome", outcome)]),
        );
        Self {
            refused: hot_counters(meter, refused, labels),
            written,
            failed,
            lost,
        }
    }

    pub(super) fn refused(&self, door: Door, cause: Cause) {
        let of_door = DOORS.iter().position(|at| *at == door);
        let of_cause = Cause::ALL.iter().position(|at| *at == cause);
        let place = of_door.zip(of_cause).map(|(at, of)| at * CAUSES + of);
        if let Some(counter) = place.and_then(|place| self.refused.get(place)) {
            counter.increment();
        }
    }
}
