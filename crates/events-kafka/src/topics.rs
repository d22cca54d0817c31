//! Which topics are there, and making those that are not.

use std::time::Duration;

use downlink_domain::event::EventKind;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{Client, ClientContext};
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::metadata::MetadataTopic;

use tracing::debug;

use crate::options::KafkaOptions;
use crate::record::{KINDS, Topics, place};

/// How long one question to the brokers may take.
pub(crate) const ASK_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the creation of topics may take.
const CREATE_TIMEOUT: Duration = Duration::from_secs(15);

/// Topics that cannot be written, by the place of their kind, and why not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Missing([Option<RDKafkaErrorCode>; KINDS.len()]);

impl Missing {
    pub(crate) fn is_none(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }

    pub(crate) fn holds(&self, kind: EventKind) -> bool {
        self.0[place(kind)].is_some()
    }

    /// Those that are simply not there.
    pub(crate) fn unknown<'a>(&self, topics: &'a Topics) -> Vec<&'a str> {
        let named = topics.all().filter(|(kind, _)| {
            self.0[place(*kind)] == Some(RDKafkaErrorCode::UnknownTopicOrPartition)
        });
        named.map(|(_, name)| name).collect()
    }

    /// `name (reason)`, for one line of the log.
    pub(crate) fn describe(&self, topics: &Topics) -> String {
        let described = topics.all().filter_map(|(kind, name)| {
            let why = self.0[place(kind)]?;
            Some(format!("{name} ({why})"))
        });
        described.collect::<Vec<_>>().join(", ")
    }
}

/// Asks the brokers for each topic; blocks up to [`ASK_TIMEOUT`] for each. An error means that no
/// broker answered.
pub(crate) fn survey<C: ClientContext>(
    client: &Client<C>,
    topics: &Topics,
) -> Result<Missing, KafkaError> {
    let mut missing = Missing::default();
    for (kind, name) in topics.all() {
        let metadata = client.fetch_metadata(Some(name), ASK_TIMEOUT)?;
        let found = metadata.topics().iter().find(|topic| topic.name() == name);
        missing.0[place(kind)] = match found.map(MetadataTopic::error) {
            None => Some(RDKafkaErrorCode::UnknownTopicOrPartition),
            Some(Some(error)) => Some(error.into()),
            Some(None) => None,
        };
    }
    Ok(missing)
}

/// Creates the topics that are not there; returns what the brokers said against it.
pub(crate) async fn create(
    options: &KafkaOptions,
    topics: &Topics,
    missing: &Missing,
) -> Result<(), String> {
    let names = missing.unknown(topics);
    if names.is_empty() {
        return Ok(());
    }
    let wanted: Vec<_> = names
        .into_iter()
        .map(|name| {
            let copies = TopicReplication::Fixed(i32::from(options.replication_factor));
            NewTopic::new(name, i32::from(options.partitions), copies)
        })
        .collect();
    let client = AdminClient::from_config_and_context(&options.client_config(), NoContext)
        .map_err(|error| error.to_string())?;
    let limits = AdminOptions::new()
        .request_timeout(Some(CREATE_TIMEOUT))
        .operation_timeout(Some(CREATE_TIMEOUT));
    let created = client.create_topics(&wanted, &limits).await;
    // Its end waits for its threads.
    let ended = tokio::task::spawn_blocking(move || drop(client)).await;
    ended.map_err(|error| error.to_string())?;
    let refused = created
        .map_err(|error| error.to_string())?
        .into_iter()
        .filter_map(Result::err)
        // Another node was faster.
        .filter(|(_, error)| *error != RDKafkaErrorCode::TopicAlreadyExists)
        .map(|(name, error)| format!("{name} ({error})"));
    let refused: Vec<_> = refused.collect();
    if refused.is_empty() {
        Ok(())
    } else {
        Err(refused.join(", "))
    }
}

/// Leaves the words to the one who asked.
struct NoContext;

impl ClientContext for NoContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        debug!(?level, facility, line, "kafka client");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        debug!(%error, reason, "kafka client reports an error");
    }
}
