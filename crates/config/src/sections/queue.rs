//! Cloud-to-device messages and their feedback.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use super::nonzero_u32;
use crate::human::{ByteSize, HumanDuration};
use crate::violation::Checker;

const MINUTE: HumanDuration = HumanDuration::from_secs(60);
const TWO_DAYS: HumanDuration = HumanDuration::from_secs(2 * 86_400);
const YEAR: HumanDuration = HumanDuration::from_secs(365 * 86_400);
const SECOND: HumanDuration = HumanDuration::from_secs(1);
const HOUR: HumanDuration = HumanDuration::from_secs(3_600);

/// What raises a message's delivery count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum DeliveryCounting {
    /// Every delivery.
    #[default]
    Deliveries,
    /// Only a device's explicit abandon.
    Abandons,
}

/// Cloud-to-device messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Queue {
    /// How long a message lives whose sender set no expiry, 1 minute up to `max_ttl`.
    pub default_ttl: HumanDuration,
    /// The longest life a sender may give a message, 1 minute to 1 year. Azure IoT Hub allows two days.
    pub max_ttl: HumanDuration,
    /// Deliveries after which a message is dead-lettered, 1 to 100.
    pub max_delivery_count: NonZeroU32,
    /// What counts as a delivery. `deliveries`: every one, so a message that crashes its device comes to an end.
    /// `abandons`: only a device's explicit abandon, as Azure IoT Hub counts now.
    pub delivery_count: DeliveryCounting,
    /// How long a delivered message is kept for the device to settle before it is offered again, 5 seconds to 1 hour.
    /// Raise it for devices that work long on one message.
    pub lock_duration: HumanDuration,
    /// Messages that may wait for one device, 1 to 1,000,000; more are refused. Azure IoT Hub allows 50.
    pub max_depth: NonZeroU32,
    /// The largest message, body and properties, 1 KiB to 1 MiB.
    pub max_message_bytes: ByteSize,
    /// Messages one device may hold unsettled, 1 to 1000. 1 keeps strict order even when deliveries fail, and costs a
    /// round trip a message.
    pub in_flight_window: NonZeroU32,
    /// Mean time between two searches for expired messages and lapsed locks, 100 ms to 1 hour. Nothing expired is ever
    /// delivered; this decides only how soon the sender hears of it.
    pub sweep_interval: HumanDuration,
    /// Reports to the senders of messages.
    pub feedback: Feedback,
    /// How writes are grouped.
    pub batch: Batch,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            default_ttl: HOUR,
            max_ttl: TWO_DAYS,
            max_delivery_count: nonzero_u32(10),
            delivery_count: DeliveryCounting::default(),
            lock_duration: MINUTE,
            max_depth: nonzero_u32(50),
            max_message_bytes: ByteSize::from_kib(64),
            in_flight_window: nonzero_u32(16),
            sweep_interval: SECOND,
            feedback: Feedback::default(),
            batch: Batch {
                queue_items: nonzero_u32(512),
                ..Batch::default()
            },
        }
    }
}

impl Queue {
    pub(super) fn check(&self, at: &mut Checker) {
        at.duration("max_ttl", self.max_ttl, MINUTE..=YEAR);
        at.duration(
            "default_ttl",
            self.default_ttl,
            MINUTE..=self.max_ttl.max(MINUTE),
        );
        at.number("max_delivery_count", self.max_delivery_count, 1..=100);
        at.duration(
            "lock_duration",
            self.lock_duration,
            HumanDuration::from_secs(5)..=HOUR,
        );
        at.number("max_depth", self.max_depth, 1..=1_000_000);
        at.size(
            "max_message_bytes",
            self.max_message_bytes,
            ByteSize::from_kib(1)..=ByteSize::from_kib(1_024),
        );
        at.number("in_flight_window", self.in_flight_window, 1..=1_000);
        at.duration(
            "sweep_interval",
            self.sweep_interval,
            HumanDuration::from_millis(100)..=HOUR,
        );
        at.section("feedback", |at| self.feedback.check(at));
        at.section("batch", |at| self.batch.check(at));
    }
}

/// Reports to the senders of messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Feedback {
    /// How long a report waits for a receiver, 1 minute to 2 days.
    pub ttl: HumanDuration,
    /// Deliveries after which reports are dropped, 1 to 100.
    pub max_delivery_count: NonZeroU32,
    /// How long a batch is kept for its receiver to settle before it is offered again, 5 to 300 seconds.
    pub lock_duration: HumanDuration,
    /// Age of the oldest report at which a batch is sent though it is not full, 100 ms to 1 hour. Lower it where
    /// senders wait for reports.
    pub flush_interval: HumanDuration,
    /// Reports that make a batch full, 1 to 1000.
    pub flush_count: NonZeroU32,
}

impl Default for Feedback {
    fn default() -> Self {
        Self {
            ttl: HOUR,
            max_delivery_count: nonzero_u32(10),
            lock_duration: MINUTE,
            flush_interval: HumanDuration::from_secs(15),
            flush_count: nonzero_u32(64),
        }
    }
}

impl Feedback {
    fn check(&self, at: &mut Checker) {
        at.duration("ttl", self.ttl, MINUTE..=TWO_DAYS);
        at.number("max_delivery_count", self.max_delivery_count, 1..=100);
        let (least, most) = (HumanDuration::from_secs(5), HumanDuration::from_secs(300));
        at.duration("lock_duration", self.lock_duration, least..=most);
        at.duration(
            "flush_interval",
            self.flush_interval,
            HumanDuration::from_millis(100)..=HOUR,
        );
        at.number("flush_count", self.flush_count, 1..=1_000);
        at.require(
            self.flush_interval < self.ttl,
            "flush_interval",
            "is not less than ttl: reports would expire before they are sent",
        );
    }
}

/// How work is grouped: each lane forms one batch at a time, and a device's work stays in one lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Batch {
    /// Batches that may be written at once, 1 to 256.
    pub lanes: NonZeroU32,
    /// Items that make a batch full, 1 to 100,000.
    pub max_items: NonZeroU32,
    /// Bytes that make a batch full, 64 KiB to 256 MiB.
    pub max_bytes: ByteSize,
    /// How long an item may wait for company, up to 1 second. `0s`: a batch is what has queued while the previous one
    /// was written, which is right unless every write is dear.
    pub max_delay: HumanDuration,
    /// Items that may wait in each lane, 1 to 1,000,000; then callers wait.
    pub queue_items: NonZeroU32,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            lanes: nonzero_u32(4),
            max_items: nonzero_u32(500),
            max_bytes: ByteSize::from_kib(4 * 1_024),
            max_delay: HumanDuration::default(),
            queue_items: nonzero_u32(2_000),
        }
    }
}

impl Batch {
    fn check(&self, at: &mut Checker) {
        at.number("lanes", self.lanes, 1..=256);
        at.number("max_items", self.max_items, 1..=100_000);
        at.size(
            "max_bytes",
            self.max_bytes,
            ByteSize::from_kib(64)..=ByteSize::from_kib(256 * 1_024),
        );
        at.duration(
            "max_delay",
            self.max_delay,
            HumanDuration::default()..=SECOND,
        );
        at.number("queue_items", self.queue_items, 1..=1_000_000);
    }
}
