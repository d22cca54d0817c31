//! Calls by rpc and code.

use downlink_runtime::telemetry::{HotCounter, InstrumentSpec, hot_counters};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;
use tonic::Code;

use super::rpc::Rpc;

/// Codes of gRPC, by their numbers.
const CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

const COUNTERS: usize = Rpc::ALL.len() * CODES.len();

/// Counts calls of the public API.
#[derive(Clone, Debug)]
pub struct RpcMetrics {
    ended: Box<[HotCounter]>,
}

impl RpcMetrics {
    /// Declares the instrument.
    pub fn new(meter: &Meter) -> Self {
        let spec = InstrumentSpec {
            name: "downlink.gateway.rpcs",
            unit: "",
            description: "calls of the public gRPC API that ended, by rpc and code",
        };
        let labels: [Vec<KeyValue>; COUNTERS] = std::array::from_fn(|place| {
            let rpc = Rpc::ALL[place / CODES.len()].name();
            let code = CODES[place % CODES.len()];
            vec![KeyValue::new("rpc", rpc), KeyValue::new("code", code)]
        });
        Self {
            ended: Box::new(hot_counters(meter, spec, labels)),
        }
    }

    /// Counts a call that ended with `code`.
    pub fn ended(&self, rpc: Rpc, code: Code) {
        self.counter(rpc, code).increment();
    }

    fn counter(&self, rpc: Rpc, code: Code) -> &HotCounter {
        let code = usize::try_from(code as i32).unwrap_or(0);
        &self.ended[rpc as usize * CODES.len() + code]
    }

    /// How many calls have ended so.
    #[cfg(test)]
    pub fn count(&self, rpc: Rpc, code: Code) -> u64 {
        self.counter(rpc, code).value()
    }
}
