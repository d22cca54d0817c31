//! The sink as its users hold it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::event::Event;
use downlink_ports::EventSink;
use downlink_runtime::{Lifecycle, OnError};
use opentelemetry::metrics::Meter;
use thiserror::Error;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tracing::error;

use crate::call::Call;
use crate::keeper::{Keeper, Ready};
use crate::metrics::SinkMetrics;
use crate::options::{KafkaOptions, OptionsError};
use crate::producer::{Producer, Sentence, Stop};
use crate::record::Topics;
use crate::topics::ASK_TIMEOUT;

/// Why a sink could not be opened. That Kafka is away is no reason.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Options outside their bounds.
    #[error("{}", lines(.0))]
    Options(Vec<OptionsError>),
    /// The client library refuses its settings.
    #[error("the kafka client cannot be made")]
    Client(#[source] rdkafka::error::KafkaError),
}

fn lines(violations: &[OptionsError]) -> String {
    let lines: Vec<_> = violations.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// Why Kafka cannot take events now.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PingError {
    /// No producer has reached it.
    #[error("kafka is not reached")]
    Away,
    /// It did not answer.
    #[error("kafka does not answer: {0}")]
    NoAnswer(String),
}

/// Hands events to Kafka; see the crate's words for the promise.
pub struct KafkaSink {
    topics: Topics,
    metrics: Arc<SinkMetrics>,
    ready: watch::Receiver<Option<Ready>>,
}

impl KafkaSink {
    /// Opens the sink; Kafka is looked for in the background, and topics are created when it is
    /// first reached.
    ///
    /// The sink works until `scope` drains; give it a scope made before those of its users.
    ///
    /// # Errors
    /// [`OpenError`]: the options are wrong.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn open(
        options: KafkaOptions,
        meter: &Meter,
        scope: &Lifecycle,
    ) -> Result<Arc<Self>, OpenError> {
        options.validate().map_err(OpenError::Options)?;
        // The first is made here: settings that the library refuses are a fault of the start.
        let first = Producer::new(&options.client_config()).map_err(OpenError::Client)?;
        let topics = Topics::new(&options.topic_prefix, options.form);
        let metrics = Arc::new(SinkMetrics::declare(meter));
        let (sender, ready) = watch::channel(None);
        let keeper = Keeper {
            options,
            topics: topics.clone(),
            metrics: Arc::clone(&metrics),
            ready: sender,
            drain: scope.drain_token(),
            told: None,
        };
        scope.spawn("kafka producer", OnError::Shutdown, keeper.run(first));
        Ok(Arc::new(Self {
            topics,
            metrics,
            ready,
        }))
    }

    /// Asks Kafka for a sign of life, at most 3 seconds.
    ///
    /// # Errors
    /// [`PingError`]: events cannot be handed over now.
    pub async fn ping(&self) -> Result<(), PingError> {
        let ready = self.ready.borrow().clone().ok_or(PingError::Away)?;
        let name = self.topics.of(downlink_domain::event::EventKind::Feedback);
        let name = name.to_owned();
        let asked = tokio::task::spawn_blocking(move || {
            let client = ready.producer.client();
            client.fetch_metadata(Some(&name), ASK_TIMEOUT).map(|_| ())
        });
        match asked.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(PingError::NoAnswer(error.to_string())),
            Err(error) => Err(PingError::NoAnswer(error.to_string())),
        }
    }

    /// A producer that has reached Kafka, if there is one by the deadline.
    async fn ready(&self, deadline: Instant) -> Option<Ready> {
        let mut changes = self.ready.clone();
        let found = timeout_at(deadline, changes.wait_for(Option::is_some)).await;
        found.ok()?.ok()?.clone()
    }
}

#[async_trait]
impl EventSink for KafkaSink {
    async fn publish(&self, events: &[Event], within: Duration) -> usize {
        let deadline = Instant::now() + within;
        if events.is_empty() {
            return 0;
        }
        let Some(ready) = self.ready(deadline).await else {
            return 0;
        };
        // What has no topic holds up what follows it.
        let taken = events.iter().take_while(|event| ready.takes(event.kind));
        let events = &events[..taken.count()];
        let call = Arc::new(Call::new(events.len()));
        let handed = ready
            .producer
            .hand_over(events, &self.topics, &call, deadline)
            .await;
        call.close_one();
        if let Err(Stop::Oversized) = handed {
            self.metrics.oversized.increment();
            error!("an event is larger than max_record_bytes and holds up those behind it");
        }
        tokio::select! {
            () = call.settled() => {}
            _ = ready.producer.condemned() => {}
            () = tokio::time::sleep_until(deadline) => {
                ready.producer.condemn(Sentence::Deadline);
            }
        }
        call.delivered()
    }
}
