//! Metrics of the service, declared once.

use downlink_domain::method::{MethodAnswer, MethodError};
use downlink_runtime::telemetry::{HotCounter, HotGauge, InstrumentSpec, hot_counters, hot_gauge};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};
use tokio::time::Instant;

/// Outcomes of calls, as the label says them; the order is that of [`outcome_index`].
const OUTCOMES: [&str; 12] = [
    "answered",
    "hung_up",
    "invalid",
    "payload_too_large",
    "device_not_found",
    "not_online",
    "connection_lost",
    "superseded",
    "timed_out",
    "bad_answer",
    "too_many_in_flight",
    "unavailable",
];

/// The place of [`OUTCOMES`] for calls whose caller hung up.
const HUNG_UP: usize = 1;

/// Every metric of the service.
pub(crate) struct MethodMetrics {
    calls: [HotCounter; OUTCOMES.len()],
    pub(crate) in_flight: HotGauge,
    request_bytes: Histogram<u64>,
    response_bytes: Histogram<u64>,
    duration: Histogram<f64>,
}

/// One call being measured. Dropped without an outcome it counts as one whose caller hung up.
pub(crate) struct Recorder<'a> {
    metrics: &'a MethodMetrics,
    started: Instant,
    outcome: usize,
}

impl MethodMetrics {
    pub(crate) fn declare(meter: &Meter) -> Self {
        let spec = InstrumentSpec {
            name: "downlink.method_router.calls",
            unit: "",
            description: "direct methods, by outcome",
        };
        let labels = OUTCOMES.map(|outcome| vec![KeyValue::new("outcome", outcome)]);
        let calls = hot_counters(meter, spec, labels);
        let spec = InstrumentSpec {
            name: "downlink.method_router.calls.in_flight",
            unit: "",
            description: "direct methods that have no outcome yet",
        };
        let sizes = |name: &'static str, description: &'static str| {
            meter
                .u64_histogram(name)
                .with_unit("By")
                .with_description(description)
                .with_boundaries(vec![
                    0.0, 256.0, 1024.0, 4096.0, 16384.0, 65536.0, 131_072.0,
                ])
                .build()
        };
        Self {
            calls,
            in_flight: hot_gauge(meter, spec),
            request_bytes: sizes(
                "downlink.method_router.request.size",
                "payloads of direct methods",
            ),
            response_bytes: sizes(
                "downlink.method_router.response.size",
                "payloads of answers to direct methods",
            ),
            duration: meter
                .f64_histogram("downlink.method_router.call.duration")
                .with_unit("s")
                .with_description("time from a direct method to its outcome")
                .with_boundaries(vec![
                    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0,
                ])
                .build(),
        }
    }

    pub(crate) fn start(&self, request_bytes: usize) -> Recorder<'_> {
        self.request_bytes.record(request_bytes as u64, &[]);
        Recorder {
            metrics: self,
            started: Instant::now(),
            outcome: HUNG_UP,
        }
    }
}

impl Recorder<'_> {
    pub(crate) fn finish(mut self, outcome: &Result<MethodAnswer, MethodError>) {
        self.outcome = outcome_index(outcome);
        if let Ok(answer) = outcome {
            let bytes = answer.payload.len() as u64;
            self.metrics.response_bytes.record(bytes, &[]);
        }
    }
}

impl Drop for Recorder<'_> {
    fn drop(&mut self) {
        self.metrics.calls[self.outcome].increment();
        let elapsed = self.started.elapsed().as_secs_f64();
        self.metrics.duration.record(elapsed, &[]);
    }
}

/// The place of an outcome in [`OUTCOMES`].
fn outcome_index(outcome: &Result<MethodAnswer, MethodError>) -> usize {
    match outcome {
        Ok(_) => 0,
        Err(MethodError::InvalidName | MethodError::InvalidTimeouts) => 2,
        Err(MethodError::PayloadTooLarge) => 3,
        Err(MethodError::DeviceNotFound) => 4,
        Err(MethodError::NotOnline) => 5,
        Err(MethodError::ConnectionLost) => 6,
        Err(MethodError::Superseded) => 7,
        Err(MethodError::TimedOut) => 8,
        Err(MethodError::BadAnswer) => 9,
        Err(MethodError::TooManyInFlight) => 10,
        Err(MethodError::Unavailable) => 11,
    }
}
