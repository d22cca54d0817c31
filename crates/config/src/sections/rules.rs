//! Direct methods and twins.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::nonzero_u32;
use crate::human::{ByteSize, HumanDuration};
use crate::violation::Checker;

/// Direct methods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Methods {
    /// The largest payload in each direction, 1 KiB to 1 MiB.
    pub max_payload_bytes: ByteSize,
    /// Calls in flight for one device, those that wait for it to connect included, 1 to 10,000; more are refused.
    pub max_in_flight_per_device: NonZeroU32,
    /// Calls in flight on one node, 1 to 1,000,000; more are refused.
    pub max_in_flight: NonZeroU32,
    /// How long before the end of the response timeout the caller is told that it ended, up to 2 seconds. Some SDKs
    /// give up at that very instant and report a broken connection; raise it for callers on slow links.
    pub response_slack: HumanDuration,
}

impl Default for Methods {
    fn default() -> Self {
        Self {
            max_payload_bytes: ByteSize::from_kib(128),
            max_in_flight_per_device: nonzero_u32(100),
            max_in_flight: nonzero_u32(50_000),
            response_slack: HumanDuration::from_millis(200),
        }
    }
}

impl Methods {
    pub(super) fn check(&self, at: &mut Checker) {
        at.size(
            "max_payload_bytes",
            self.max_payload_bytes,
            ByteSize::from_kib(1)..=ByteSize::from_kib(1_024),
        );
        at.number(
            "max_in_flight_per_device",
            self.max_in_flight_per_device,
            1..=10_000,
        );
        at.number("max_in_flight", self.max_in_flight, 1..=1_000_000);
        at.duration(
            "response_slack",
            self.response_slack,
            HumanDuration::default()..=HumanDuration::from_secs(2),
        );
        at.require(
            self.max_in_flight_per_device <= self.max_in_flight,
            "max_in_flight_per_device",
            "is more than max_in_flight",
        );
    }
}

/// What the notification of a full replacement says of keys that are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ReplacedKeys {
    /// Nothing.
    #[default]
    Omitted,
    /// `null` for each.
    Nulls,
}

/// Device twins. Sizes are counted as the contract counts them: keys and values, without punctuation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Twin {
    /// The largest tags section, 1 KiB to 1 MiB.
    pub max_tags_bytes: ByteSize,
    /// The largest desired section, 1 KiB to 1 MiB.
    pub max_desired_bytes: ByteSize,
    /// The largest reported section, 1 KiB to 1 MiB.
    pub max_reported_bytes: ByteSize,
    /// What a device is told of keys that a full replacement of the desired section removed. `omitted`: nothing, it
    /// gets the whole new section, as documented. `nulls`: `null` for each, so that SDKs that merge what they are told
    /// see them go.
    pub desired_replace_nulls: ReplacedKeys,
    /// How many changes of desired properties are kept for each device and module, 0 to 1000, each up to 4 KiB of text.
    /// One that comes back and says which version it has, or whose MQTT session remembers, is told what it missed, in
    /// order; where that is more than was kept it is told the whole section once.
    pub kept_changes: u32,
    /// How many twins may be read for one page of a query, or for its groups, 100 to 100,000,000. What the store finds
    /// or counts by itself is not read; a query that has to look at more is refused, and its text says so.
    pub query_max_scanned: NonZeroU32,
    /// Queries that run at a time on one node, 1 to 1,000; more wait for two seconds and are then refused as throttled.
    pub query_max_concurrent: NonZeroU32,
    /// Longest time that one page of a query may take, 100 ms to 1 minute; one that takes longer is refused. Callers
    /// give up after 10 seconds whatever is set here.
    pub query_deadline: HumanDuration,
    /// From how long on a query is written into the log, without the values it looks for.
    pub slow_query: HumanDuration,
}

impl Default for Twin {
    fn default() -> Self {
        Self {
            max_tags_bytes: ByteSize::from_kib(8),
            max_desired_bytes: ByteSize::from_kib(32),
            max_reported_bytes: ByteSize::from_kib(32),
            desired_replace_nulls: ReplacedKeys::default(),
            kept_changes: 16,
            query_max_scanned: nonzero_u32(100_000),
            query_max_concurrent: nonzero_u32(16),
            query_deadline: HumanDuration::from_secs(8),
            slow_query: HumanDuration::from_secs(1),
        }
    }
}

impl Twin {
    pub(super) fn check(&self, at: &mut Checker) {
        let bounds = || ByteSize::from_kib(1)..=ByteSize::from_kib(1_024);
        at.size("max_tags_bytes", self.max_tags_bytes, bounds());
        at.size("max_desired_bytes", self.max_desired_bytes, bounds());
        at.size("max_reported_bytes", self.max_reported_bytes, bounds());
        at.require(
            self.kept_changes <= 1_000,
            "kept_changes",
            "is more than 1000",
        );
        at.number(
            "query_max_scanned",
            self.query_max_scanned,
            100..=100_000_000,
        );
        at.number("query_max_concurrent", self.query_max_concurrent, 1..=1_000);
        let deadlines = HumanDuration::from_millis(100)..=HumanDuration::from_secs(60);
        at.duration("query_deadline", self.query_deadline, deadlines);
    }
}
