//! The instruments of queries.

use std::time::Duration;

use downlink_ports::{PeerError, QueryPage};
use downlink_runtime::telemetry::{HotCounter, InstrumentSpec, hot_counters};
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter};

/// What a query answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Rows,
    Groups,
    Jobs,
    /// Nothing: its text was refused.
    Text,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Rows, Self::Groups, Self::Jobs, Self::Text];

    const fn label(self) -> &'static str {
        match self {
            Self::Rows => "rows",
            Self::Groups => "groups",
            Self::Jobs => "jobs",
            Self::Text => "unread",
        }
    }
}

const OUTCOMES: [&str; 3] = ["success", "refused", "failure"];

/// Counters and times of pages.
pub(super) struct Instruments {
    pages: [HotCounter; Kind::ALL.len() * OUTCOMES.len()],
    scanned: [HotCounter; 1],
    durations: Histogram<f64>,
}

impl Instruments {
    pub(super) fn new(meter: &Meter) -> Self {
        let pages = InstrumentSpec {
            name: "downlink.twin.queries",
            unit: "",
            description: "pages of queries that were asked for",
        };
        let scanned = InstrumentSpec {
            name: "downlink.twin.query.rows_scanned",
            unit: "",
            description: "rows that were read for queries",
        };
        Self {
            pages: hot_counters(
                meter,
                pages,
                std::array::from_fn(|index| {
                    let kind = Kind::ALL[index / OUTCOMES.len()];
                    vec![
                        KeyValue::new("kind", kind.label()),
                        KeyValue::new("outcome", OUTCOMES[index % OUTCOMES.len()]),
                    ]
                }),
            ),
            scanned: hot_counters(meter, scanned, [Vec::new()]),
            durations: meter
                .f64_histogram("downlink.twin.query.duration")
                .with_unit("s")
                .with_description("time that a page of a query took")
                .build(),
        }
    }

    pub(super) fn count(
        &self,
        kind: Kind,
        answer: &Result<QueryPage, PeerError>,
        scanned: u64,
        elapsed: Duration,
    ) {
        let outcome = match answer {
            Ok(_) => 0,
            Err(error) if error.code().http_status() < 500 => 1,
            Err(_) => 2,
        };
        self.pages[kind as usize * OUTCOMES.len() + outcome].increment();
        let [rows] = &self.scanned;
        rows.add(scanned);
        let kind = KeyValue::new("kind", kind.label());
        self.durations.record(elapsed.as_secs_f64(), &[kind]);
    }

    /// Counts a text that is no query.
    pub(super) fn count_refused_text(&self) {
        self.pages[Kind::Text as usize * OUTCOMES.len() + 1].increment();
    }
}
