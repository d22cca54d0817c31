//! Plain options of the service; the configuration section that fills them lives in
//! `downlink-config`.

use std::num::NonZeroUsize;
use std::time::Duration;

use downlink_domain::caps;
use downlink_domain::message::{DeliveryCounting, QueueRules};
use downlink_ports::OutboxBounds;
use downlink_runtime::BatcherOptions;
use thiserror::Error;

use crate::relay::RelayOptions;

/// How far the clocks of nodes and senders may differ (design.md §6).
pub(crate) const CLOCK_SKEW: Duration = Duration::from_secs(5);

/// Groups of messages that may wait in each lane: with four lanes and the largest messages about
/// 128 MiB.
const MAX_WAITING_GROUPS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(511);

/// What an operator may set about the queue. The defaults are those of the contract (c2d.md §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueOptions {
    /// Messages waiting for one device, at least 1.
    pub max_depth: u32,
    /// Largest message, body and properties, in bytes.
    pub max_message_bytes: usize,
    /// Life of a message that names no expiry; at most `max_ttl`.
    pub default_ttl: Duration,
    /// Longest life of a message.
    pub max_ttl: Duration,
    /// Lock of a message handed to a device, unless the caller asks for another.
    pub lock_duration: Duration,
    /// Deliveries before dead-lettering, 1–100.
    pub max_delivery_count: u32,
    /// What raises the delivery count.
    pub counting: DeliveryCounting,
    /// Reports to senders.
    pub feedback: FeedbackOptions,
    /// Making expiries and lapsed locks visible.
    pub sweep: SweepOptions,
    /// Telling gateways that messages wait.
    pub wake: WakeOptions,
    /// What the event outbox keeps. What is beyond it is shed, relayed or not.
    pub outbox: OutboxBounds,
    /// Taking events out of the outbox, where there is a log for them.
    pub relay: RelayOptions,
    /// How often the outbox is trimmed.
    pub outbox_trim_interval: Duration,
    /// How enqueues, receives and settlements are batched.
    pub batches: BatcherOptions,
}

/// What an operator may set about feedback (c2d.md §2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedbackOptions {
    /// Life of a record, 1 minute to 2 days.
    pub ttl: Duration,
    /// Lock of a batch, 5–300 s.
    pub lock_duration: Duration,
    /// Deliveries of a batch before its records are dropped, 1–100.
    pub max_delivery_count: u32,
    /// Records that make a batch ready, and its most; at least 1.
    pub flush_count: u32,
    /// Age of the oldest record that makes a smaller batch ready.
    pub flush_interval: Duration,
    /// Longest time between two looks of a waiting receiver; finds what another node wrote.
    pub poll_interval: Duration,
    /// Receivers that may wait at once; one more is refused.
    pub max_waiting: usize,
}

/// What an operator may set about the sweeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepOptions {
    /// Mean time between two sweeps; each wait is 75–125 % of it.
    pub interval: Duration,
    /// Messages taken up by one statement; at least 1.
    pub batch: u32,
}

/// What an operator may set about wake-ups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WakeOptions {
    /// Devices that may wait to be woken; more are dropped and counted.
    pub max_pending: usize,
    /// Devices looked up at once; at least 1.
    pub batch: usize,
    /// Calls to gateways under way at once; further devices wait, within `max_pending`. At least 1.
    pub max_calls: usize,
    /// How long one look-up or one call may take.
    pub timeout: Duration,
    /// Times that a device is tried again whose gateway could not be woken or is not known (yet);
    /// then it waits for the gateway to look by itself.
    pub max_retries: u32,
    /// Pause before the first further try; doubled for each one after it, up to 5 s.
    pub retry_pause: Duration,
}

/// An option outside its bounds.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{option} must be {bounds}")]
pub struct OptionsError {
    /// Which option.
    pub option: &'static str,
    /// What it must be.
    pub bounds: &'static str,
}

impl Default for QueueOptions {
    fn default() -> Self {
        Self {
            max_depth: caps::MAX_C2D_DEPTH,
            max_message_bytes: caps::MAX_C2D_BYTES,
            default_ttl: caps::DEFAULT_C2D_TTL,
            max_ttl: caps::MAX_C2D_TTL,
            lock_duration: caps::LOCK_DURATION,
            max_delivery_count: caps::MAX_DELIVERY_COUNT,
            counting: DeliveryCounting::default(),
            feedback: FeedbackOptions::default(),
            sweep: SweepOptions::default(),
            wake: WakeOptions::default(),
            outbox: OutboxBounds {
                retention: Duration::from_hours(7 * 24),
                max_events: 1_000_000,
            },
            relay: RelayOptions::default(),
            outbox_trim_interval: Duration::from_mins(1),
            batches: BatcherOptions {
                queue_items: MAX_WAITING_GROUPS,
                ..BatcherOptions::default()
            },
        }
    }
}

impl Default for FeedbackOptions {
    fn default() -> Self {
        Self {
            ttl: Duration::from_hours(1),
            lock_duration: Duration::from_mins(1),
            max_delivery_count: caps::MAX_DELIVERY_COUNT,
            flush_count: caps::FEEDBACK_FLUSH_COUNT,
            flush_interval: caps::FEEDBACK_FLUSH_INTERVAL,
            poll_interval: Duration::from_secs(1),
            max_waiting: 100,
        }
    }
}

impl Default for SweepOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(1),
            batch: 1_000,
        }
    }
}

impl Default for WakeOptions {
    fn default() -> Self {
        Self {
            max_pending: 100_000,
            batch: 1_000,
            max_calls: 64,
            timeout: Duration::from_secs(1),
            max_retries: 5,
            retry_pause: Duration::from_millis(200),
        }
    }
}

impl QueueOptions {
    /// Checks every bound.
    ///
    /// # Errors
    /// All violations.
    pub fn validate(&self) -> Result<(), Vec<OptionsError>> {
        let is_default_within = !self.default_ttl.is_zero() && self.default_ttl <= self.max_ttl;
        let is_lock_long = self.lock_duration >= CLOCK_SKEW;
        let own = [
            ("max_depth", self.max_depth >= 1, AT_LEAST_ONE),
            (
                "max_message_bytes",
                self.max_message_bytes >= 1,
                AT_LEAST_ONE,
            ),
            (
                "default_ttl",
                is_default_within,
                "above 0 and not above max_ttl",
            ),
            ("lock_duration", is_lock_long, "at least 5 s"),
            (
                "max_delivery_count",
                is_percent(self.max_delivery_count),
                "1 to 100",
            ),
            (
                "outbox_trim_interval",
                !self.outbox_trim_interval.is_zero(),
                ABOVE_ZERO,
            ),
        ];
        let parts = own
            .into_iter()
            .chain(self.feedback.checks())
            .chain(self.sweep.checks())
            .chain(self.wake.checks())
            .chain(self.relay.checks());
        let violations: Vec<_> = parts
            .filter(|(_, holds, _)| !holds)
            .map(|(option, _, bounds)| OptionsError { option, bounds })
            .collect();
        if violations.is_empty() {
            Ok(())
        } else {
            Err(violations)
        }
    }

    /// The rules that transitions depend on.
    pub(crate) fn rules(&self) -> QueueRules {
        QueueRules {
            counting: self.counting,
            max_delivery_count: self.max_delivery_count,
            feedback_ttl: self.feedback.ttl,
        }
    }
}

/// An option, whether it keeps its bounds, and what those are.
type Check = (&'static str, bool, &'static str);

const AT_LEAST_ONE: &str = "at least 1";
const ABOVE_ZERO: &str = "above 0";

fn is_percent(count: u32) -> bool {
    (1..=100).contains(&count)
}

impl FeedbackOptions {
    fn checks(&self) -> [Check; 5] {
        let is_ttl = (Duration::from_mins(1)..=caps::MAX_C2D_TTL).contains(&self.ttl);
        let lock = Duration::from_secs(5)..=Duration::from_mins(5);
        let is_lock = lock.contains(&self.lock_duration);
        let is_count = is_percent(self.max_delivery_count);
        [
            ("feedback.ttl", is_ttl, "1 minute to 2 days"),
            ("feedback.lock_duration", is_lock, "5 s to 300 s"),
            ("feedback.max_delivery_count", is_count, "1 to 100"),
            ("feedback.flush_count", self.flush_count >= 1, AT_LEAST_ONE),
            (
                "feedback.poll_interval",
                !self.poll_interval.is_zero(),
                ABOVE_ZERO,
            ),
        ]
    }
}

impl SweepOptions {
    fn checks(&self) -> [Check; 2] {
        [
            ("sweep.interval", !self.interval.is_zero(), ABOVE_ZERO),
            ("sweep.batch", self.batch >= 1, AT_LEAST_ONE),
        ]
    }
}

impl WakeOptions {
    fn checks(&self) -> [Check; 3] {
        [
            ("wake.retry_pause", !self.retry_pause.is_zero(), ABOVE_ZERO),
            ("wake.batch", self.batch >= 1, AT_LEAST_ONE),
            ("wake.max_calls", self.max_calls >= 1, AT_LEAST_ONE),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(QueueOptions::default().validate(), Ok(()));
    }

    #[test]
    fn all_violations_are_reported_together() {
        let options = QueueOptions {
            max_depth: 0,
            max_delivery_count: 101,
            default_ttl: caps::MAX_C2D_TTL * 2,
            ..QueueOptions::default()
        };
        let names: Vec<_> = options
            .validate()
            .unwrap_err()
            .into_iter()
            .map(|violation| violation.option)
            .collect();
        assert_eq!(names, ["max_depth", "default_ttl", "max_delivery_count"]);
    }
}
