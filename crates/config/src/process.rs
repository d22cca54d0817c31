//! What a service in a process of its own needs beyond what every configuration needs.

use crate::sections::{Config, PresenceKind, StorageKind};
use crate::violation::Checker;

/// A program, by what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Process {
    /// All services in one process: nothing need be shared.
    AllInOne,
    /// The gateway: presence, a certificate, the other services.
    Gateway,
    /// The queue service: the store and presence.
    Queue,
    /// The method-router service: presence.
    MethodRouter,
    /// The twin service: the store and presence.
    Twin,
    /// A tool that works on the store alone.
    StoreTool,
}

impl Process {
    /// Name of the program.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AllInOne | Self::StoreTool => "downlink",
            Self::Gateway => "downlink-gateway",
            Self::Queue => "downlink-queue",
            Self::MethodRouter => "downlink-method-router",
            Self::Twin => "downlink-twin",
        }
    }

    /// Notes what is missing for this process.
    pub fn check(self, config: &Config, checker: &mut Checker) {
        let needs_store = matches!(self, Self::Queue | Self::Twin | Self::StoreTool);
        let needs_presence = !matches!(self, Self::AllInOne | Self::StoreTool);
        checker.section("storage", |at| {
            at.require(
                !needs_store || config.storage.kind == StorageKind::Postgres,
                "kind",
                format_args!(
                    "{} needs a store that processes can share: set it to postgres and storage.postgres.url to a \
                     database, or run `downlink dev`, which is all services in one process",
                    self.name()
                ),
            );
        });
        checker.section("presence", |at| {
            at.require(
                !needs_presence || config.presence.kind == PresenceKind::Redis,
                "kind",
                format_args!(
                    "{} needs presence that processes can share: set it to redis and presence.redis.urls to a server, \
                     or run `downlink dev`, which is all services in one process",
                    self.name()
                ),
            );
        });
        if self == Self::Gateway {
            check_gateway(config, checker);
        }
    }
}

fn check_gateway(config: &Config, checker: &mut Checker) {
    checker.section("tls", |at| {
        at.require(
            config.tls.certificate_file.is_some(),
            "certificate_file",
            "is missing: a gateway needs a certificate; `downlink certificate` makes one for tests",
        );
    });
    checker.section("peers", |at| {
        let peers = &config.peers;
        let lists = [("queue", &peers.queue), ("methods", &peers.methods), ("twins", &peers.twins)];
        for (field, nodes) in lists {
            at.require(
                !nodes.as_slice().is_empty(),
                field,
                "is missing: set it to the host:port at which that service answers its peers",
            );
        }
        at.require(
            !peers.listen_address.is_unspecified() || !peers.advertise.is_empty(),
            "advertise",
            format_args!(
                "is missing: this gateway listens on {}, so its peers must be told where to reach it, host:port",
                peers.listen_address
            ),
        );
    });
}
