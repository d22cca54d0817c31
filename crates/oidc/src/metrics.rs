//! Instruments of bearer tokens, declared once.

use downlink_runtime::telemetry::{HotCounter, InstrumentSpec, hot_counters};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

use crate::bearer::BearerError;

const OUTCOMES: usize = BearerError::ALL.len() + 1;

/// Counters of looks for keys and of verified tokens; clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct OidcMetrics {
    fetches: [HotCounter; 2],
    verifications: [HotCounter; OUTCOMES],
}

impl OidcMetrics {
    /// Declares the instruments.
    pub(crate) fn new(meter: &Meter) -> Self {
        let outcome = |value| vec![KeyValue::new("outcome", value)];
        let fetches = InstrumentSpec {
            name: "downlink.oidc.fetches",
            unit: "",
            description: "looks for the keys of issuers, by outcome",
        };
        let verifications = InstrumentSpec {
            name: "downlink.oidc.verifications",
            unit: "",
            description: "bearer tokens, by outcome: accepted, or why not",
        };
        let causes = std::array::from_fn(|at| match at.checked_sub(1) {
            None => outcome("accepted"),
            Some(at) => outcome(BearerError::ALL[at].cause()),
        });
        Self {
            fetches: hot_counters(meter, fetches, [outcome("keys"), outcome("failed")]),
            verifications: hot_counters(meter, verifications, causes),
        }
    }

    /// Counts a look.
    pub(crate) fn fetched(&self, has_keys: bool) {
        self.fetches[usize::from(!has_keys)].increment();
    }

    /// Counts a token.
    pub(crate) fn verified(&self, refused: Option<BearerError>) {
        let position = refused.and_then(|cause| BearerError::ALL.iter().position(|&c| c == cause));
        let at = position.map_or(0, |position| position + 1);
        self.verifications[at].increment();
    }
}
