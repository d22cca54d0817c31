//! The instruments of jobs.

use downlink_runtime::telemetry::{HotCounter, InstrumentSpec, hot_counters};
use opentelemetry::KeyValue;
use opentelemetry::metrics::Meter;

/// What happened to a job on this node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum JobEvent {
    /// The node took it.
    Claimed,
    /// It is done.
    Completed,
    /// It could not be done.
    Failed,
    /// Another node has it now.
    Lost,
    /// The node gave it back.
    Released,
}

impl JobEvent {
    const ALL: [Self; 5] = [
        Self::Claimed,
        Self::Completed,
        Self::Failed,
        Self::Lost,
        Self::Released,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Lost => "lost",
            Self::Released => "released",
        }
    }
}

/// Counters with every label settled.
#[derive(Clone, Debug)]
pub(crate) struct JobMetrics {
    jobs: [HotCounter; JobEvent::ALL.len()],
    devices: [HotCounter; 2],
    failures: [HotCounter; 1],
}

impl JobMetrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        let spec = |name, description| InstrumentSpec {
            name,
            unit: "",
            description,
        };
        Self {
            jobs: hot_counters(
                meter,
                spec("downlink.twin.jobs", "jobs, by what happened to them here"),
                std::array::from_fn(|index| {
                    vec![KeyValue::new("event", JobEvent::ALL[index].label())]
                }),
            ),
            devices: hot_counters(
                meter,
                spec(
                    "downlink.twin.device_jobs",
                    "identities of jobs, by outcome",
                ),
                ["success", "failure"].map(|outcome| vec![KeyValue::new("outcome", outcome)]),
            ),
            failures: hot_counters(
                meter,
                spec(
                    "downlink.twin.job_store_failures",
                    "times that the store failed a runner of jobs",
                ),
                [Vec::new()],
            ),
        }
    }

    pub(crate) fn count(&self, event: JobEvent) {
        self.jobs[event as usize].increment();
    }

    pub(crate) fn count_devices(&self, succeeded: usize, failed: usize) {
        self.devices[0].add(succeeded as u64);
        self.devices[1].add(failed as u64);
    }

    pub(crate) fn count_failure(&self) {
        self.failures[0].increment();
    }
}
