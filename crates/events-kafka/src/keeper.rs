//! The task that keeps a producer at hand: makes it, finds Kafka and its topics, and puts another
//! in its place when it is condemned.

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::event::EventKind;
use rdkafka::error::KafkaError;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::metrics::SinkMetrics;
use crate::options::KafkaOptions;
use crate::producer::{Producer, Sentence};
use crate::record::Topics;
use crate::topics::{self, Missing};

/// Between two attempts to reach Kafka, besides the time that each takes.
const RETRY: Duration = Duration::from_millis(500);
/// Between two looks for topics that were missing.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Between the end of one producer and the next.
const PAUSE: Duration = Duration::from_millis(200);

/// A producer that has reached Kafka.
#[derive(Clone)]
pub(crate) struct Ready {
    pub(crate) producer: Arc<Producer>,
    pub(crate) missing: Missing,
}

impl Ready {
    /// Tells whether there is a topic for events of this kind.
    pub(crate) fn takes(&self, kind: EventKind) -> bool {
        !self.missing.holds(kind)
    }
}

/// See the module's words.
pub(crate) struct Keeper {
    pub(crate) options: KafkaOptions,
    pub(crate) topics: Topics,
    pub(crate) metrics: Arc<SinkMetrics>,
    pub(crate) ready: watch::Sender<Option<Ready>>,
    pub(crate) drain: CancellationToken,
    /// What the log was told last, which is not repeated.
    pub(crate) told: Option<String>,
}

impl Keeper {
    /// Runs until the scope drains; the last producer ends with it.
    pub(crate) async fn run(mut self, first: Producer) {
        let mut next = Some(first);
        let drain = self.drain.clone();
        while !drain.is_cancelled() {
            let made = next.take().map_or_else(|| self.make(), Ok);
            match made {
                Ok(producer) => {
                    let producer = Arc::new(producer);
                    tokio::select! {
                        () = self.keep(&producer) => {}
                        () = drain.cancelled() => {}
                    }
                    self.withdraw(producer).await;
                }
                Err(error) => self.tell(format!("no producer could be made: {error}")),
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                () = drain.cancelled() => {}
            }
        }
    }

    fn make(&self) -> Result<Producer, KafkaError> {
        Producer::new(&self.options.client_config())
    }

    /// Offers the producer once Kafka is there, until it is condemned. Cancel safe.
    async fn keep(&mut self, producer: &Arc<Producer>) {
        let mut missing = self.reach(producer).await;
        self.offer(producer, &missing);
        let sentence = loop {
            tokio::select! {
                sentence = producer.condemned() => break sentence,
                () = sleep(LOOK_AGAIN), if !missing.is_none() => {
                    missing = self.reach(producer).await;
                    self.offer(producer, &missing);
                }
            }
        };
        match sentence {
            Sentence::Deadline => {
                self.metrics.deadlines.increment();
                self.tell("events were not acknowledged in time".to_owned());
            }
            Sentence::Failure(reason) => {
                self.metrics.failures.increment();
                self.tell(reason);
            }
        }
    }

    /// Asks until Kafka answers; creates topics when that is wanted.
    async fn reach(&mut self, producer: &Arc<Producer>) -> Missing {
        loop {
            match self.survey(producer).await {
                Ok(missing) if missing.is_none() => return missing,
                Ok(missing) => {
                    let missing = self.mend(producer, missing).await;
                    if let Some(missing) = missing {
                        return missing;
                    }
                }
                Err(reason) => self.tell(format!("kafka is not reached: {reason}")),
            }
            sleep(RETRY).await;
        }
    }

    /// Creates what is missing where that is wanted, and says what is missing still. `None` when
    /// it will be there soon: the brokers hear of new topics one after the other.
    async fn mend(&mut self, producer: &Arc<Producer>, missing: Missing) -> Option<Missing> {
        if !self.options.create_topics || missing.unknown(&self.topics).is_empty() {
            self.tell_missing(&missing, "create them, or set create_topics");
            return Some(missing);
        }
        if let Err(refused) = topics::create(&self.options, &self.topics, &missing).await {
            self.tell_missing(&missing, &format!("kafka did not create {refused}"));
            return Some(missing);
        }
        let left = self.survey(producer).await.ok()?;
        if left.unknown(&self.topics).is_empty() {
            return Some(left);
        }
        None
    }

    fn tell_missing(&mut self, missing: &Missing, cure: &str) {
        let names = missing.describe(&self.topics);
        self.tell(format!("there is no way to write to {names}; {cure}"));
    }

    async fn survey(&self, producer: &Arc<Producer>) -> Result<Missing, String> {
        let (producer, topics) = (Arc::clone(producer), self.topics.clone());
        let asked = tokio::task::spawn_blocking(move || topics::survey(producer.client(), &topics));
        match asked.await {
            Ok(Ok(missing)) => Ok(missing),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }

    fn offer(&mut self, producer: &Arc<Producer>, missing: &Missing) {
        let ready = Ready {
            producer: Arc::clone(producer),
            missing: missing.clone(),
        };
        if self.ready.send_replace(Some(ready)).is_none() {
            self.metrics.reachable.add(1);
        }
        if missing.is_none() && self.told.take().is_some() {
            info!("kafka takes events again");
        }
    }

    async fn withdraw(&mut self, producer: Arc<Producer>) {
        if self.ready.send_replace(None).is_some() {
            self.metrics.reachable.add(-1);
        }
        producer.condemn(Sentence::Failure("the producer ends".to_owned()));
        let purged = tokio::task::spawn_blocking(move || producer.purge()).await;
        if let Err(error) = purged {
            warn!(%error, "a kafka producer was not emptied");
        }
    }

    /// Says a thing once, not at every attempt.
    fn tell(&mut self, what: String) {
        if self.told.as_ref() != Some(&what) {
            warn!(reason = %what, "events are held back");
            self.told = Some(what);
        }
    }
}
