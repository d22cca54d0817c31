//! What processes share: Postgres, Redis, Kafka.

use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{nonzero_u16, nonzero_u32};
use crate::human::{ByteSize, HumanDuration, List};
use crate::secret::Secret;
use crate::violation::Checker;

const SECOND: HumanDuration = HumanDuration::from_secs(1);
const MINUTE: HumanDuration = HumanDuration::from_secs(60);

/// What stands between this process and Postgres.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Pooler {
    /// Nothing that changes what a connection is.
    #[default]
    None,
    /// A pooler that gives a connection of the server to each transaction, such as PgBouncer.
    Transaction,
}

/// A Postgres database, version 15 or later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Postgres {
    /// `postgres://user:password@host:port/database`, with `?sslmode=verify-full&sslrootcert=FILE` where the way there
    /// is not trusted. A secret; `url_file` names a file that holds it.
    pub url: Secret,
    /// Connections of this process, 1 to 1,000; statements wait for one. Keep the sum over all processes below what
    /// the server permits.
    pub max_connections: NonZeroU32,
    /// Time to connect, 100 ms to 1 minute.
    pub connect_timeout: HumanDuration,
    /// How long a statement may wait for a connection, 100 ms to 1 minute; then its call fails as unavailable.
    pub acquire_timeout: HumanDuration,
    /// How long a statement may run, 100 ms to 10 minutes.
    pub statement_timeout: HumanDuration,
    /// Connections of this process for queries over twins, 1 to 1,000, beside `max_connections`, so that devices never
    /// wait for a query. Sixteen queries may wait for each; more are refused as busy.
    pub max_query_connections: NonZeroU32,
    /// Whether a service brings the schema up to date when it starts. Otherwise one that finds another schema than its
    /// own refuses to start, and `downlink migrate` is run before an upgrade.
    pub migrate: bool,
    /// `none`, or `transaction` behind a pooler that gives a server connection to each transaction.
    pub pooler: Pooler,
}

impl Default for Postgres {
    fn default() -> Self {
        Self {
            url: Secret::default(),
            max_connections: nonzero_u32(16),
            connect_timeout: HumanDuration::from_secs(5),
            acquire_timeout: HumanDuration::from_secs(5),
            statement_timeout: HumanDuration::from_secs(10),
            max_query_connections: nonzero_u32(4),
            migrate: false,
            pooler: Pooler::default(),
        }
    }
}

impl Postgres {
    pub(super) fn check(&self, is_used: bool, at: &mut Checker) {
        at.require(
            !is_used || !self.url.expose().is_empty(),
            "url",
            "is missing: storage.kind is postgres; set it, or url_file, to postgres://user:password@host:port/database",
        );
        at.number("max_connections", self.max_connections, 1..=1_000);
        at.number(
            "max_query_connections",
            self.max_query_connections,
            1..=1_000,
        );
        let (least, most) = (HumanDuration::from_millis(100), MINUTE);
        at.duration("connect_timeout", self.connect_timeout, least..=most);
        at.duration("acquire_timeout", self.acquire_timeout, least..=most);
        let most = HumanDuration::from_secs(600);
        at.duration("statement_timeout", self.statement_timeout, least..=most);
    }
}

/// What knows which gateway holds which device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum PresenceKind {
    /// The memory of this process.
    #[default]
    Memory,
    /// A Redis that any number of processes share.
    Redis,
}

/// Which gateway holds which device. May be lost: gateways write their entries again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Presence {
    /// `memory`: this process's own. `redis`: shared by any number of processes; services in processes of their own
    /// need it.
    pub kind: PresenceKind,
    /// Redis, when `kind` is `redis`.
    pub redis: Redis,
    /// How long a gateway that is not heard of counts as alive, 2 seconds to 5 minutes. Its devices read as absent
    /// after that.
    pub lease_ttl: HumanDuration,
    /// Time between two words of a gateway, 100 ms to 1 minute, at most a quarter of `lease_ttl`.
    pub lease_renew_interval: HumanDuration,
    /// Entries a gateway writes again in a second after they were lost, 100 to 10,000,000.
    pub restore_pace: NonZeroU32,
    /// In which time a gateway writes each of its entries once more, 1 minute to 1 day: heals what nobody noticed.
    pub reassert_interval: HumanDuration,
    /// Least time between two writes of when a device was last active, 100 ms to 1 day: `lastActivityTime` is at most
    /// this late, and a device that sends all the time costs one write in it.
    pub activity_interval: HumanDuration,
}

impl Default for Presence {
    fn default() -> Self {
        Self {
            kind: PresenceKind::default(),
            redis: Redis::default(),
            lease_ttl: HumanDuration::from_secs(10),
            lease_renew_interval: HumanDuration::from_secs(2),
            restore_pace: nonzero_u32(50_000),
            reassert_interval: HumanDuration::from_secs(600),
            activity_interval: MINUTE,
        }
    }
}

impl Presence {
    pub(super) fn check(&self, at: &mut Checker) {
        let is_used = self.kind == PresenceKind::Redis;
        at.section("redis", |at| self.redis.check(is_used, at));
        let most = HumanDuration::from_secs(300);
        at.duration(
            "lease_ttl",
            self.lease_ttl,
            HumanDuration::from_secs(2)..=most,
        );
        let (least, most) = (HumanDuration::from_millis(100), MINUTE);
        at.duration(
            "lease_renew_interval",
            self.lease_renew_interval,
            least..=most,
        );
        at.require(
            self.lease_renew_interval.get() * 4 <= self.lease_ttl.get(),
            "lease_renew_interval",
            "is more than a quarter of lease_ttl: few lost words would end the lease",
        );
        at.number("restore_pace", self.restore_pace, 100..=10_000_000);
        let most = HumanDuration::from_secs(86_400);
        at.duration("reassert_interval", self.reassert_interval, MINUTE..=most);
        let least = HumanDuration::from_millis(100);
        at.duration("activity_interval", self.activity_interval, least..=most);
    }
}

/// How many Redis servers there are and how they belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum RedisTopology {
    /// One server.
    #[default]
    Single,
    /// A master and its replicas, watched by sentinels.
    Sentinel,
    /// A Redis Cluster.
    Cluster,
}

/// Redis, version 7.0 or later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Redis {
    /// `single`: `urls` is one server. `sentinel`: `urls` are sentinels, `master` what they watch. `cluster`: `urls` are
    /// some nodes of a Redis Cluster.
    pub topology: RedisTopology,
    /// `redis://host:port`, or `rediss://` for TLS; user and password are settings of their own.
    pub urls: List<String>,
    /// Name of the master that the sentinels watch.
    pub master: String,
    /// User, when the server has users.
    pub username: String,
    /// Password, when the server asks for one. A secret; `password_file` names a file that holds it.
    pub password: Secret,
    /// User of the sentinels, which have users of their own.
    pub sentinel_username: String,
    /// Password of the sentinels. A secret; `sentinel_password_file` names a file that holds it.
    pub sentinel_password: Secret,
    /// PEM file with the authorities to trust under `rediss://`; not set: those that the machine trusts.
    pub ca_file: Option<PathBuf>,
    /// First part of every key; hubs that share a Redis need different ones.
    pub key_prefix: String,
    /// Time to connect, 100 ms to 1 minute.
    pub connect_timeout: HumanDuration,
    /// How long one call may take, 10 ms to 1 minute.
    pub call_timeout: HumanDuration,
}

impl Default for Redis {
    fn default() -> Self {
        Self {
            topology: RedisTopology::default(),
            urls: List::default(),
            master: "mymaster".to_owned(),
            username: String::new(),
            password: Secret::default(),
            sentinel_username: String::new(),
            sentinel_password: Secret::default(),
            ca_file: None,
            key_prefix: "downlink".to_owned(),
            connect_timeout: HumanDuration::from_secs(3),
            call_timeout: SECOND,
        }
    }
}

impl Redis {
    fn check(&self, is_used: bool, at: &mut Checker) {
        let urls = self.urls.as_slice();
        at.require(
            !is_used || !urls.is_empty(),
            "urls",
            "is missing: presence.kind is redis; set it to redis://host:port",
        );
        at.require(
            self.topology != RedisTopology::Single || urls.len() <= 1,
            "urls",
            "names several servers, but topology is single",
        );
        for url in urls {
            let is_url = url.starts_with("redis://") || url.starts_with("rediss://");
            at.require(is_url, "urls", "must begin with redis:// or rediss://");
            let is_open = !url.contains('@');
            at.require(
                is_open,
                "urls",
                "holds a user or password: set username and password instead",
            );
        }
        at.require(
            self.topology != RedisTopology::Sentinel || !self.master.is_empty(),
            "master",
            "is empty: sentinels watch a master by name",
        );
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        let is_prefix =
            (1..=64).contains(&self.key_prefix.len()) && self.key_prefix.bytes().all(is_plain);
        at.require(
            is_prefix,
            "key_prefix",
            "must be 1 to 64 letters, digits, and any of - _ . :",
        );
        let least = HumanDuration::from_millis(100);
        at.duration("connect_timeout", self.connect_timeout, least..=MINUTE);
        let least = HumanDuration::from_millis(10);
        at.duration("call_timeout", self.call_timeout, least..=MINUTE);
    }
}

/// Where events go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum EventsKind {
    /// They stay in the outbox until it sheds them.
    #[default]
    None,
    /// They are relayed to Kafka topics.
    Kafka,
}

/// Where events go: feedback, telemetry, changes of twins, lifecycles of devices, connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Events {
    /// `none`: they stay in the outbox until it sheds them. `kafka`: the queue service relays them to Kafka.
    pub kind: EventsKind,
    /// Kafka, when `kind` is `kafka`.
    pub kafka: Kafka,
}

impl Events {
    pub(super) fn check(&self, at: &mut Checker) {
        let is_used = self.kind == EventsKind::Kafka;
        at.section("kafka", |at| self.kafka.check(is_used, at));
    }
}

/// Kafka. Topics are `<topic_prefix>.feedback`, `.telemetry`, `.twin-changes`, `.device-lifecycle`,
/// `.connection-events` and `.audit`; keys are device ids, and the hub's name for what concerns no device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Kafka {
    /// Some of the brokers, `host:port`.
    pub brokers: List<String>,
    /// First part of the topics' names.
    pub topic_prefix: String,
    /// Whether missing topics are made.
    pub create_topics: bool,
    /// Partitions of a topic that is made, 1 to 10,000.
    pub partitions: NonZeroU16,
    /// Copies of a topic that is made, 1 to 10. Set 3 where there are three brokers.
    pub replication_factor: NonZeroU16,
    /// How an event is written. `plain`: its body, with its properties as headers. `cloud-events`: a `CloudEvent` 1.0 in
    /// JSON with the type names and data of Azure's Event Grid, for consumers that expect those.
    pub form: EventForm,
    /// Relays in each process of the queue service, 1 to 3; each holds a connection of the store while it publishes.
    pub relays: NonZeroU16,
    /// Events a relay takes at once, 1 to 10,000.
    pub batch: NonZeroU32,
    /// How long a relay waits for Kafka to take a batch, 1 second to 2 minutes; then it is sent again.
    pub publish_timeout: HumanDuration,
    /// Bytes that wait in this process to be taken by Kafka, 1 MiB to 1 GiB.
    pub max_queued_bytes: ByteSize,
}

/// How an event is written into a record of Kafka.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum EventForm {
    /// Its body as the value, its properties as headers.
    #[default]
    Plain,
    /// A `CloudEvent` 1.0 in JSON.
    CloudEvents,
}

impl Default for Kafka {
    fn default() -> Self {
        Self {
            brokers: List::default(),
            topic_prefix: "downlink".to_owned(),
            create_topics: true,
            partitions: nonzero_u16(12),
            replication_factor: nonzero_u16(1),
            form: EventForm::default(),
            relays: nonzero_u16(2),
            batch: nonzero_u32(1_000),
            publish_timeout: HumanDuration::from_secs(10),
            max_queued_bytes: ByteSize::from_kib(64 * 1_024),
        }
    }
}

impl Kafka {
    fn check(&self, is_used: bool, at: &mut Checker) {
        at.require(
            !is_used || !self.brokers.as_slice().is_empty(),
            "brokers",
            "is missing: events.kind is kafka; set it to host:port",
        );
        for broker in self.brokers.as_slice() {
            at.require(
                is_host_and_port(broker),
                "brokers",
                format_args!("{broker:?} is not host:port"),
            );
        }
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let is_prefix =
            (1..=200).contains(&self.topic_prefix.len()) && self.topic_prefix.bytes().all(is_plain);
        at.require(
            is_prefix,
            "topic_prefix",
            "must be 1 to 200 letters, digits, and any of - _ .",
        );
        at.number("partitions", self.partitions, 1..=10_000);
        at.number("replication_factor", self.replication_factor, 1..=10);
        at.number("relays", self.relays, 1..=3);
        at.number("batch", self.batch, 1..=10_000);
        let most = HumanDuration::from_secs(120);
        at.duration("publish_timeout", self.publish_timeout, SECOND..=most);
        at.size(
            "max_queued_bytes",
            self.max_queued_bytes,
            ByteSize::from_kib(1_024)..=ByteSize::from_kib(1_024 * 1_024),
        );
    }
}

/// Something, a colon and a port.
pub(super) fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}
