//! What an operator may set.

use std::time::Duration;

use rdkafka::ClientConfig;
use thiserror::Error;

/// Where events go and what may be held on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaOptions {
    /// Addresses (`host:port`) of some of the brokers, 1–100; the others are learned from them.
    pub brokers: Vec<String>,
    /// First part of each topic's name: 1–200 letters, digits, `.`, `_` and `-`.
    pub topic_prefix: String,
    /// Whether topics that are missing are created. Existing ones are left as they are.
    pub create_topics: bool,
    /// Partitions of a topic that is created, 1–10,000.
    pub partitions: u16,
    /// Copies of a topic that is created, 1–100; not more than there are brokers.
    pub replication_factor: u16,
    /// How an event is written.
    pub form: EventForm,
    /// How batches of records are compressed.
    pub compression: Compression,
    /// How long a record may wait for others to share its request, at most 1 s.
    pub linger: Duration,
    /// Largest record in bytes, 1,024–100,000,000; not above `max.message.bytes` of the topics. An
    /// event beyond it cannot be written and holds up those of its lane.
    pub max_record_bytes: u32,
    /// Events that may wait for their acknowledgement, 1–10,000,000; beyond it publishing waits.
    pub max_queued_events: u32,
    /// Bytes of events that may wait for their acknowledgement, 1 MiB–2 GiB; beyond it publishing
    /// waits.
    pub max_queued_bytes: u64,
    /// How this client is called in the brokers' logs and quotas, 1–200 visible ASCII characters.
    pub client_id: String,
}

/// How an event is written into a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EventForm {
    /// Its body as the value and its properties as headers.
    #[default]
    Plain,
    /// As a `CloudEvent` 1.0 in JSON, with the names of Azure's Event Grid where it has any; the
    /// properties are headers too.
    CloudEvents,
}

/// How batches of records are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// The smallest, at most CPU.
    Gzip,
    /// Fast.
    Snappy,
    /// Fastest.
    #[default]
    Lz4,
}

impl Compression {
    /// The name that Kafka and its settings use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
        }
    }
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

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            brokers: vec!["localhost:9092".to_owned()],
            topic_prefix: "downlink".to_owned(),
            create_topics: true,
            partitions: 12,
            replication_factor: 1,
            form: EventForm::default(),
            compression: Compression::default(),
            linger: Duration::from_millis(2),
            max_record_bytes: 1_000_000,
            max_queued_events: 100_000,
            max_queued_bytes: 64 * 1024 * 1024,
            client_id: "downlink".to_owned(),
        }
    }
}

impl KafkaOptions {
    /// Checks every bound.
    ///
    /// # Errors
    /// All violations.
    pub fn validate(&self) -> Result<(), Vec<OptionsError>> {
        let violations: Vec<_> = self
            .checks()
            .into_iter()
            .filter(|(_, holds, _)| !holds)
            .map(|(option, _, bounds)| OptionsError { option, bounds })
            .collect();
        if violations.is_empty() {
            Ok(())
        } else {
            Err(violations)
        }
    }

    fn checks(&self) -> [(&'static str, bool, &'static str); 10] {
        let is_brokers = (1..=100).contains(&self.brokers.len());
        let are_addresses = self.brokers.iter().all(|broker| is_address(broker));
        let is_prefix = (1..=200).contains(&self.topic_prefix.len())
            && self.topic_prefix.bytes().all(is_topic_byte)
            && !self.topic_prefix.starts_with('.');
        let is_client = (1..=200).contains(&self.client_id.len())
            && self.client_id.bytes().all(|byte| byte.is_ascii_graphic());
        let queued_bytes = 1_048_576..=2_147_483_648;
        [
            (
                "brokers",
                is_brokers && are_addresses,
                "1 to 100 addresses of the form host:port",
            ),
            (
                "topic_prefix",
                is_prefix,
                "1 to 200 letters, digits, '.', '_' and '-', not starting with '.'",
            ),
            (
                "partitions",
                (1..=10_000).contains(&self.partitions),
                "1 to 10,000",
            ),
            (
                "replication_factor",
                (1..=100).contains(&self.replication_factor),
                "1 to 100",
            ),
            (
                "linger",
                self.linger <= Duration::from_secs(1),
                "at most 1 s",
            ),
            (
                "max_record_bytes",
                (1_024..=100_000_000).contains(&self.max_record_bytes),
                "1,024 to 100,000,000",
            ),
            (
                "max_queued_events",
                (1..=10_000_000).contains(&self.max_queued_events),
                "1 to 10,000,000",
            ),
            (
                "max_queued_bytes",
                queued_bytes.contains(&self.max_queued_bytes),
                "1 MiB to 2 GiB",
            ),
            (
                "max_queued_bytes",
                self.max_queued_bytes >= u64::from(self.max_record_bytes),
                "at least max_record_bytes",
            ),
            ("client_id", is_client, "1 to 200 visible ASCII characters"),
        ]
    }

    /// The settings of the producer; the module docs of the crate say why these.
    pub(crate) fn client_config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.brokers.join(","))
            .set("client.id", &self.client_id)
            .set("enable.idempotence", "true")
            .set("enable.gapless.guarantee", "true")
            .set("acks", "all")
            .set("message.timeout.ms", "0")
            .set("allow.auto.create.topics", "false")
            .set("partitioner", "murmur2_random")
            .set("compression.codec", self.compression.as_str())
            .set("linger.ms", self.linger.as_millis().to_string())
            .set("message.max.bytes", self.max_record_bytes.to_string())
            .set(
                "queue.buffering.max.messages",
                self.max_queued_events.to_string(),
            )
            .set(
                "queue.buffering.max.kbytes",
                (self.max_queued_bytes / 1_024).to_string(),
            )
            // A broker that stopped answering is left before a usual publish gives up.
            .set("request.timeout.ms", "10000")
            .set("socket.timeout.ms", "15000")
            .set("socket.keepalive.enable", "true")
            // A broker that is back is noticed soon.
            .set("reconnect.backoff.ms", "100")
            .set("reconnect.backoff.max.ms", "1000");
        config
    }
}

fn is_topic_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-".contains(&byte)
}

fn is_address(broker: &str) -> bool {
    let Some((host, port)) = broker.rsplit_once(':') else {
        return false;
    };
    let is_host = (1..=255).contains(&host.len())
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
    is_host && port.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(KafkaOptions::default().validate(), Ok(()));
    }

    #[test]
    fn all_violations_are_reported_together() {
        let options = KafkaOptions {
            brokers: vec!["kafka:9092".to_owned(), "kafka,evil=1".to_owned()],
            topic_prefix: "a b".to_owned(),
            partitions: 0,
            linger: Duration::from_mins(1),
            max_queued_bytes: 1,
            ..KafkaOptions::default()
        };
        let violations = options.validate().unwrap_err();
        let names: Vec<_> = violations.iter().map(|one| one.option).collect();
        let expected = [
            "brokers",
            "topic_prefix",
            "partitions",
            "linger",
            "max_queued_bytes",
            "max_queued_bytes",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn addresses_are_a_host_and_a_port() {
        for good in ["kafka:9092", "10.0.0.1:1", "[::1]:9092", "a-b.c_d:65535"] {
            assert!(is_address(good), "{good}");
        }
        for bad in ["kafka", "kafka:0", "kafka:65536", ":9092", "a b:1", "a,b:1"] {
            assert!(!is_address(bad), "{bad}");
        }
    }
}
