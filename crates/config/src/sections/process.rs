//! Outbox, logs, shutdown.

use std::num::NonZeroU64;

use serde::{Deserialize, Serialize};

use super::nonzero_u64;
use crate::human::HumanDuration;
use crate::violation::Checker;

/// Events that wait for their consumers. When either bound is passed the oldest go first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Outbox {
    /// How long an event is kept, 1 minute to 1 year.
    pub retention: HumanDuration,
    /// How many events are kept, 1 to 1,000,000,000. Set it to what the disk bears.
    pub max_events: NonZeroU64,
}

impl Default for Outbox {
    fn default() -> Self {
        Self {
            retention: HumanDuration::from_secs(7 * 86_400),
            max_events: nonzero_u64(1_000_000),
        }
    }
}

impl Outbox {
    pub(super) fn check(&self, at: &mut Checker) {
        let (least, most) = (
            HumanDuration::from_secs(60),
            HumanDuration::from_secs(365 * 86_400),
        );
        at.duration("retention", self.retention, least..=most);
        at.number("max_events", self.max_events, 1..=1_000_000_000);
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Log lines on stderr.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// What is logged: `off`, `error`, `warn`, `info`, `debug` or `trace`, or levels by target such as
    /// `info,downlink_gateway=debug`.
    pub level: String,
    /// `human`: lines for people. `json`: one JSON object a line, for collectors.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
            format: LogFormat::default(),
        }
    }
}

impl Log {
    pub(super) fn check(&self, at: &mut Checker) {
        at.require(
            !self.level.trim().is_empty(),
            "level",
            "is empty: to log nothing write off",
        );
    }
}

/// How the process ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Shutdown {
    /// How long work in hand may take to finish after the first signal, up to 1 hour; a second signal ends it at once.
    /// Keep it below the orchestrator's own grace period, 30 seconds in Kubernetes.
    pub grace: HumanDuration,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self {
            grace: HumanDuration::from_secs(25),
        }
    }
}

impl Shutdown {
    pub(super) fn check(&self, at: &mut Checker) {
        let most = HumanDuration::from_secs(3_600);
        at.duration("grace", self.grace, HumanDuration::default()..=most);
    }
}
