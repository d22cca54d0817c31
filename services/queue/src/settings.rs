//! From the configuration to the options of the service.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use downlink_config::sections::{self, Batch, Config};
use downlink_domain::message::DeliveryCounting;
use downlink_ports::OutboxBounds;
use downlink_runtime::BatcherOptions;

use crate::config::{FeedbackOptions, QueueOptions, SweepOptions};
use crate::relay::RelayOptions;

/// How much longer than a batch may take a claim is kept.
const CLAIM_MARGIN: Duration = Duration::from_secs(30);

impl From<&Config> for QueueOptions {
    fn from(config: &Config) -> Self {
        let (queue, outbox) = (&config.queue, &config.outbox);
        let kafka = &config.events.kafka;
        let defaults = Self::default();
        Self {
            max_depth: queue.max_depth.get(),
            max_message_bytes: queue.max_message_bytes.as_usize(),
            default_ttl: queue.default_ttl.get(),
            max_ttl: queue.max_ttl.get(),
            lock_duration: queue.lock_duration.get(),
            max_delivery_count: queue.max_delivery_count.get(),
            counting: match queue.delivery_count {
                sections::DeliveryCounting::Deliveries => DeliveryCounting::Deliveries,
                sections::DeliveryCounting::Abandons => DeliveryCounting::Abandons,
            },
            feedback: FeedbackOptions {
                ttl: queue.feedback.ttl.get(),
                lock_duration: queue.feedback.lock_duration.get(),
                max_delivery_count: queue.feedback.max_delivery_count.get(),
                flush_count: queue.feedback.flush_count.get(),
                flush_interval: queue.feedback.flush_interval.get(),
                ..defaults.feedback
            },
            sweep: SweepOptions {
                interval: queue.sweep_interval.get(),
                ..defaults.sweep
            },
            outbox: OutboxBounds {
                retention: outbox.retention.get(),
                max_events: outbox.max_events.get(),
            },
            relay: RelayOptions {
                workers: usize::from(kafka.relays.get()),
                batch: kafka.batch.get(),
                publish_timeout: kafka.publish_timeout.get(),
                hold: kafka.publish_timeout.get() + CLAIM_MARGIN,
                ..defaults.relay
            },
            batches: batches(queue.batch),
            ..defaults
        }
    }
}

fn batches(batch: Batch) -> BatcherOptions {
    let some = |number: usize| NonZeroUsize::new(number).unwrap_or(NonZeroUsize::MIN);
    let to_usize = |number: NonZeroU32| usize::try_from(number.get()).unwrap_or(usize::MAX);
    BatcherOptions {
        lanes: some(to_usize(batch.lanes)),
        max_items: some(to_usize(batch.max_items)),
        max_bytes: some(batch.max_bytes.as_usize()),
        max_delay: batch.max_delay.get(),
        queue_items: some(to_usize(batch.queue_items)),
    }
}
