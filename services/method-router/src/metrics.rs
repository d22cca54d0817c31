//! Metrics of the service, declared once.

use downlink_domain::method::{MethodAnswer, MethodError};
use downlink_runtime::telemetry::{HotCounter, HotGauge, InstrumentSpec, hot_counters, hot_gauge};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};
use tokio::time::Instant;

/// Outcomes of calls as the label says them: two, and one for each cause of a failure.
const OUTCOMES: usize = 2 + MethodError::ALL.len();
/// The place of answered calls.
const ANSWERED: usize = 0;
/// The place of calls whose caller hung up.
const HUNG_UP: usize = 1;

/// Every metric of the service.
pub(crate) struct MethodMetrics {
    calls: [HotCounter; OUTCOMES],
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
        let labels = std::array::from_fn(|place| vec![KeyValue::new("outcome", label(place))]);
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

/// The label of a place.
fn label(place: usize) -> &'static str {
    match place {
        ANSWERED => "answered",
        HUNG_UP => "hung-up",
        _ => MethodError::ALL[place - 2].cause(),
    }
}

/// The place of an outcome.
fn outcome_index(outcome: &Result<MethodAnswer, MethodError>) -> usize {
    let Err(error) = outcome else {
        return ANSWERED;
    };
    let place = MethodError::ALL.iter().position(|other| other == error);
    place.map_or(HUNG_UP, |place| place + 2)
}
