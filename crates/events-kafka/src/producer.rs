//! One producer, from its making until it is condemned.

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::event::Event;
use parking_lot::RwLock;
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{
    BaseRecord, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer,
};
use rdkafka::{ClientConfig, Message};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::call::Call;
use crate::record::{self, Topics};

/// Events handed over between two looks at everything else that wants to run.
const CHUNK: usize = 128;
/// Longest wait for room before it is looked for again.
const ROOM_TIMEOUT: Duration = Duration::from_millis(100);

/// Why a producer takes no more events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sentence {
    /// Events were not acknowledged in time.
    Deadline,
    /// The producer or the broker said no for good.
    Failure(String),
}

/// What the producer's thread and its users share.
pub(crate) struct Context {
    /// Written once. Events are handed over under the reader's lock: after the sentence none is.
    sentence: RwLock<Option<Sentence>>,
    condemned: CancellationToken,
    /// Told whenever an event is acknowledged.
    room: Notify,
}

impl Context {
    fn new() -> Self {
        Self {
            sentence: RwLock::new(None),
            condemned: CancellationToken::new(),
            room: Notify::new(),
        }
    }

    fn condemn(&self, why: Sentence) {
        self.sentence.write().get_or_insert(why);
        self.condemned.cancel();
        self.room.notify_waiters();
    }
}

impl ClientContext for Context {
    /// The client's own lines repeat with every attempt to reach a broker; what matters of them
    /// is said once, by the keeper.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        debug!(?level, facility, line, "kafka client");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, reason, "kafka client reports an error");
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.condemn(Sentence::Failure(reason.to_owned()));
        }
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        match result {
            Ok(_) => ticket.call.deliver(ticket.index),
            Err((error, message)) => {
                let text = format!("{} refused an event: {error}", message.topic());
                self.condemn(Sentence::Failure(text));
                ticket.call.close_one();
            }
        }
        self.room.notify_waiters();
    }
}

/// An event that the producer has.
pub(crate) struct Ticket {
    call: Arc<Call>,
    index: usize,
}

/// Why events were not handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The producer is condemned.
    Condemned,
    /// The deadline has passed.
    Deadline,
    /// The next event is too large for any record.
    Oversized,
}

enum Refusal {
    Full,
    Stop(Stop),
    Failed(KafkaError),
}

/// A producer; see the module docs of the crate for what condemning it is for.
pub(crate) struct Producer {
    /// `None` only while it is dropped.
    inner: Option<ThreadedProducer<Context>>,
}

impl Producer {
    pub(crate) fn new(config: &ClientConfig) -> Result<Self, KafkaError> {
        let inner = ThreadedProducer::from_config_and_context(config, Context::new())?;
        Ok(Self { inner: Some(inner) })
    }

    fn inner(&self) -> &ThreadedProducer<Context> {
        self.inner.as_ref().expect("only a drop takes it")
    }

    /// The client, for questions to the brokers. Its calls block.
    pub(crate) fn client(&self) -> &Client<Context> {
        self.inner().client()
    }

    fn context(&self) -> &Context {
        self.inner().context()
    }

    /// Takes no more events from now on.
    pub(crate) fn condemn(&self, why: Sentence) {
        self.context().condemn(why);
    }

    /// Waits until it is condemned, and says why.
    pub(crate) async fn condemned(&self) -> Sentence {
        let context = self.context();
        context.condemned.cancelled().await;
        let sentence = context.sentence.read().clone();
        sentence.unwrap_or(Sentence::Deadline)
    }

    /// Drops what is queued or under way. It must be condemned; blocks for a moment.
    pub(crate) fn purge(&self) {
        self.inner()
            .purge(PurgeConfig::default().queue().inflight());
    }

    /// Hands over `events` in their order until the first that cannot be.
    pub(crate) async fn hand_over(
        &self,
        events: &[Event],
        topics: &Topics,
        call: &Arc<Call>,
        deadline: Instant,
    ) -> Result<(), Stop> {
        let mut next = 0;
        while next < events.len() {
            let room = self.context().room.notified();
            tokio::pin!(room);
            // Before the attempt: room that is made between the two is not missed.
            room.as_mut().enable();
            match self.hand_over_chunk(events, topics, call, &mut next) {
                Ok(()) => tokio::task::yield_now().await,
                Err(Refusal::Stop(stop)) => return Err(stop),
                Err(Refusal::Failed(error)) => {
                    self.condemn(Sentence::Failure(error.to_string()));
                    return Err(Stop::Condemned);
                }
                Err(Refusal::Full) => {
                    let again = deadline.min(Instant::now() + ROOM_TIMEOUT);
                    let _ = timeout_at(again, room).await;
                }
            }
            if Instant::now() >= deadline {
                return Err(Stop::Deadline);
            }
        }
        Ok(())
    }

    fn hand_over_chunk(
        &self,
        events: &[Event],
        topics: &Topics,
        call: &Arc<Call>,
        next: &mut usize,
    ) -> Result<(), Refusal> {
        let sentence = self.context().sentence.read();
        if sentence.is_some() {
            return Err(Refusal::Stop(Stop::Condemned));
        }
        let end = events.len().min(*next + CHUNK);
        while *next < end {
            self.send(&events[*next], topics, call, *next)?;
            *next += 1;
        }
        Ok(())
    }

    fn send(
        &self,
        event: &Event,
        topics: &Topics,
        call: &Arc<Call>,
        index: usize,
    ) -> Result<(), Refusal> {
        let key = record::key(event);
        let value = record::value(event, topics.form);
        let ticket = Box::new(Ticket {
            call: Arc::clone(call),
            index,
        });
        let record = BaseRecord::with_opaque_to(topics.of(event.kind), ticket)
            .key(key.as_bytes())
            .payload(&value[..])
            .timestamp(event.at.as_millis())
            .headers(record::headers(event, topics.form));
        call.hand_over();
        let Err((error, _record)) = self.inner().send(record) else {
            return Ok(());
        };
        call.close_one();
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => Err(Refusal::Full),
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => Err(Refusal::Stop(Stop::Oversized)),
            _ => Err(Refusal::Failed(error)),
        }
    }
}

impl Drop for Producer {
    /// Its end waits for its threads, which no task should.
    fn drop(&mut self) {
        let inner = self.inner.take();
        let ended = std::thread::Builder::new()
            .name("kafka-producer-end".to_owned())
            .spawn(move || drop(inner));
        if let Err(error) = ended {
            warn!(%error, "no thread for the end of a kafka producer");
        }
    }
}
