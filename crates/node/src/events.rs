//! Where events go, as the configuration chooses.

use std::sync::Arc;

use anyhow::Context as _;
use downlink_config::Config;
use downlink_config::sections::{self, EventsKind};
use downlink_events_kafka::{EventForm, KafkaOptions, KafkaSink};
use downlink_ports::EventSink;

use crate::ground::Ground;

/// Opens the sink of events; `None` when they stay in the outbox. Kafka that is away is waited
/// for in the background: it costs delay, not readiness.
///
/// # Errors
/// One line that names the setting and says what is wrong.
pub fn open_sink(ground: &Ground) -> anyhow::Result<Option<Arc<dyn EventSink>>> {
    match ground.config.events.kind {
        EventsKind::None => Ok(None),
        EventsKind::Kafka => {
            let options = kafka_options(&ground.config);
            let meter = ground.metrics.meter("downlink.events");
            let scope = ground.lifecycle.child("events");
            let sink = KafkaSink::open(options, &meter, &scope).context("events.kafka.brokers")?;
            Ok(Some(sink))
        }
    }
}

fn kafka_options(config: &Config) -> KafkaOptions {
    let kafka = &config.events.kafka;
    KafkaOptions {
        brokers: kafka.brokers.as_slice().to_vec(),
        topic_prefix: kafka.topic_prefix.clone(),
        create_topics: kafka.create_topics,
        partitions: kafka.partitions.get(),
        replication_factor: kafka.replication_factor.get(),
        form: match kafka.form {
            sections::EventForm::Plain => EventForm::Plain,
            sections::EventForm::CloudEvents => EventForm::CloudEvents,
        },
        max_queued_bytes: kafka.max_queued_bytes.as_usize() as u64,
        ..KafkaOptions::default()
    }
}
