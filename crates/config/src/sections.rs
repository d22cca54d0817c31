//! The settings of Downlink, section by section; the doc comments are the reference manual.

use std::num::{NonZeroU16, NonZeroU32, NonZeroU64};

use serde::{Deserialize, Serialize};

pub use self::backing::{
    EventForm, Events, EventsKind, Kafka, Pooler, Postgres, Presence, PresenceKind, Redis,
    RedisTopology,
};
pub use self::doors::{Amqp, DisabledConnack, Gateway, Grpc, Https, Mqtt};
pub use self::hub::{FurtherHub, Hub};
pub use self::jobs::Jobs;
pub use self::limits::{DeviceRates, HubRates, Limits, LimitsPreset};
pub use self::oidc::{Oidc, OidcIssuer, TokenAlgorithm};
pub use self::peers::Peers;
pub use self::place::{Listen, Storage, StorageKind, Tls};
pub use self::process::{Log, LogFormat, Outbox, Shutdown};
pub use self::queue::{Batch, DeliveryCounting, Feedback, Queue};
pub use self::registry::Registry;
pub use self::rules::{Methods, ReplacedKeys, Twin};
use crate::layers::Configuration;
use crate::violation::Checker;

mod backing;
mod doors;
mod hub;
mod jobs;
mod limits;
mod oidc;
mod peers;
mod place;
mod process;
mod queue;
mod registry;
mod rules;
#[cfg(test)]
mod tests;

/// All settings. Each section is a table of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What the hub is called.
    pub hub: Hub,
    /// Where clients and operators connect.
    pub listen: Listen,
    /// Certificates and handshakes.
    pub tls: Tls,
    /// Where identities, twins, messages and events are kept.
    pub storage: Storage,
    /// Which gateway holds which device.
    pub presence: Presence,
    /// Where events go.
    pub events: Events,
    /// How services in processes of their own reach each other.
    pub peers: Peers,
    /// Cloud-to-device messages.
    pub queue: Queue,
    /// Direct methods.
    pub methods: Methods,
    /// Identities of devices and modules.
    pub registry: Registry,
    /// Device twins.
    pub twin: Twin,
    /// Jobs that work on many devices.
    pub jobs: Jobs,
    /// What all doors have in common.
    pub gateway: Gateway,
    /// The door for devices on MQTT.
    pub mqtt: Mqtt,
    /// The door for back-ends on AMQP.
    pub amqp: Amqp,
    /// The door for back-ends on HTTPS.
    pub https: Https,
    /// The door for back-ends on gRPC.
    pub grpc: Grpc,
    /// Bearer tokens of back-ends.
    pub oidc: Oidc,
    /// Rates at which hubs and devices are served.
    pub limits: Limits,
    /// Events that wait for their consumers.
    pub outbox: Outbox,
    /// Log lines on stderr.
    pub log: Log,
    /// How the process ends.
    pub shutdown: Shutdown,
}

impl Configuration for Config {
    const SECRETS: &'static [&'static str] = &[
        "storage.postgres.url",
        "presence.redis.password",
        "presence.redis.sentinel_password",
    ];

    fn check(&self, checker: &mut Checker) {
        checker.section("hub", |at| self.hub.check(at));
        checker.section("listen", |at| self.listen.check(at));
        checker.section("tls", |at| self.tls.check(at));
        checker.section("storage", |at| self.storage.check(at));
        checker.section("presence", |at| self.presence.check(at));
        checker.section("events", |at| self.events.check(at));
        checker.section("peers", |at| self.peers.check(at));
        checker.section("queue", |at| self.queue.check(at));
        checker.section("methods", |at| self.methods.check(at));
        checker.section("registry", |at| self.registry.check(at));
        checker.section("twin", |at| self.twin.check(at));
        checker.section("jobs", |at| self.jobs.check(at));
        checker.section("gateway", |at| self.gateway.check(at));
        checker.section("mqtt", |at| self.mqtt.check(at));
        checker.section("amqp", |at| self.amqp.check(at));
        checker.section("https", |at| self.https.check(at));
        checker.section("grpc", |at| self.grpc.check(at));
        checker.section("oidc", |at| self.oidc.check(at));
        checker.section("limits", |at| self.limits.check(at));
        checker.section("outbox", |at| self.outbox.check(at));
        checker.section("log", |at| self.log.check(at));
        checker.section("shutdown", |at| self.shutdown.check(at));
        checker.section("oidc", |at| {
            let is_alone = self.hub.further.is_empty();
            at.require(
                is_alone || self.oidc.names_hubs(),
                "issuers",
                "has audiences without {HostName}: with further hubs, one token would count at each of them",
            );
        });
        checker.section("amqp", |at| {
            at.require(
                self.amqp.max_message_bytes >= self.queue.max_message_bytes,
                "max_message_bytes",
                "is less than queue.max_message_bytes: the largest messages could not be sent",
            );
        });
    }
}

const fn nonzero_u16(number: u16) -> NonZeroU16 {
    NonZeroU16::MIN.saturating_add(number - 1)
}

const fn nonzero_u32(number: u32) -> NonZeroU32 {
    NonZeroU32::MIN.saturating_add(number - 1)
}

const fn nonzero_u64(number: u64) -> NonZeroU64 {
    NonZeroU64::MIN.saturating_add(number - 1)
}
