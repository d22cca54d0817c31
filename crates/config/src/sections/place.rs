//! Sockets, certificates, storage.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Postgres, nonzero_u32};
use crate::human::{ByteSize, HumanDuration, List};
use crate::violation::Checker;

/// Where clients and operators connect. Port 0 takes a free port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Listen {
    /// The IP addresses on which clients may connect; none: 127.0.0.1 and, where there is one, `::1`. Set `0.0.0.0` or
    /// `::` to let clients of other machines in.
    pub addresses: List<IpAddr>,
    /// Port of MQTT over TLS. The SDKs always use 8883; change it only behind a load balancer that restores it.
    pub mqtts_port: u16,
    /// Port of AMQP over TLS. The SDKs always use 5671.
    pub amqps_port: u16,
    /// Port of HTTPS. The SDKs always use 443; ports below 1024 need a privilege on most systems.
    pub https_port: u16,
    /// The IP address on which operators connect: metrics and probes, without TLS. Set `0.0.0.0` where probes
    /// come from another machine, and only on a network you trust.
    pub operator_address: IpAddr,
    /// Port of the gRPC API for back-ends, over TLS, on the addresses of the other doors.
    pub grpc_port: u16,
    /// Port of `/metrics`, `/livez` and `/readyz`.
    pub metrics_port: u16,
    /// Connections the kernel holds ready before they are accepted. Raise it, with the system's own limit, if clients
    /// see refused connections when many arrive at once.
    pub backlog: NonZeroU32,
    /// Open connections of one port, 1 to 10,000,000; those beyond it are closed at once. Set it to what the memory
    /// bears, about 12 KiB for each MQTT connection.
    pub max_connections: NonZeroU32,
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            addresses: List::default(),
            mqtts_port: 8883,
            amqps_port: 5671,
            https_port: 443,
            operator_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            grpc_port: 5180,
            metrics_port: 9180,
            backlog: nonzero_u32(4_096),
            max_connections: nonzero_u32(600_000),
        }
    }
}

impl Listen {
    pub(super) fn check(&self, at: &mut Checker) {
        let ports = [
            ("mqtts_port", self.mqtts_port),
            ("amqps_port", self.amqps_port),
            ("https_port", self.https_port),
            ("grpc_port", self.grpc_port),
            ("metrics_port", self.metrics_port),
        ];
        for (index, (field, port)) in ports.iter().enumerate() {
            let same = ports[..index]
                .iter()
                .find(|(_, other)| *port != 0 && other == port);
            if let Some((other, _)) = same {
                at.require(
                    false,
                    field,
                    format_args!("{port} is the port of {other} already"),
                );
            }
        }
        at.number("backlog", self.backlog, 1..=65_535);
        at.number("max_connections", self.max_connections, 1..=10_000_000);
    }
}

/// Certificates and handshakes. TLS 1.2 and 1.3 are spoken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file with the server's certificate and what leads to its authority, leaf first. Not set, with `key_file`:
    /// a development certificate is made in the data folder. It is shown for every name that has none of its own.
    pub certificate_file: Option<PathBuf>,
    /// PEM file with the private key of the certificate: PKCS #8, SEC1 or PKCS #1.
    pub key_file: Option<PathBuf>,
    /// Time between two looks at the files of certificates and keys, 100 ms to 1 hour. What has changed and fits serves
    /// the handshakes from then on; what does not fit is logged, and the former goes on.
    pub reload_interval: HumanDuration,
    /// From accepted connection to finished handshake, 1 second to 5 minutes.
    pub handshake_deadline: HumanDuration,
    /// Handshakes under way at once, 1 to 100,000; others wait their turn. Lower it if handshakes after an outage
    /// starve the devices that are connected.
    pub max_handshakes: NonZeroU32,
    /// How long one client may take to answer within its handshake, 100 ms to 1 minute. Raise it for devices on very
    /// slow links.
    pub answer_timeout: HumanDuration,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            certificate_file: None,
            key_file: None,
            reload_interval: HumanDuration::from_secs(10),
            handshake_deadline: HumanDuration::from_secs(20),
            max_handshakes: nonzero_u32(1_024),
            answer_timeout: HumanDuration::from_secs(5),
        }
    }
}

impl Tls {
    pub(super) fn check(&self, at: &mut Checker) {
        check_pair(self.certificate_file.as_ref(), self.key_file.as_ref(), at);
        at.duration(
            "reload_interval",
            self.reload_interval,
            HumanDuration::from_millis(100)..=HumanDuration::from_secs(3_600),
        );
        at.duration(
            "handshake_deadline",
            self.handshake_deadline,
            HumanDuration::from_secs(1)..=HumanDuration::from_secs(300),
        );
        at.number("max_handshakes", self.max_handshakes, 1..=100_000);
        at.duration(
            "answer_timeout",
            self.answer_timeout,
            HumanDuration::from_millis(100)..=HumanDuration::from_secs(60),
        );
    }
}

/// Notes that one of a certificate and its key is missing.
pub(super) fn check_pair(certificate: Option<&PathBuf>, key: Option<&PathBuf>, at: &mut Checker) {
    let message = "is missing: certificate_file and key_file go together";
    at.require(certificate.is_none() || key.is_some(), "key_file", message);
    at.require(
        key.is_none() || certificate.is_some(),
        "certificate_file",
        message,
    );
}

/// What keeps the data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum StorageKind {
    /// One file in the data folder, written by this process alone.
    #[default]
    Embedded,
    /// A Postgres database that any number of processes share.
    Postgres,
}

/// Where identities, twins, messages and events are kept. Every write is on disk before it is acknowledged; writes
/// that arrive together share one commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Storage {
    /// `embedded`: one file in the data folder, written by this process alone. `postgres`: a database that any number
    /// of processes share; services in processes of their own need it.
    pub kind: StorageKind,
    /// A Postgres database, when `kind` is `postgres`. The settings of write groups are those of `embedded` alone.
    pub postgres: Postgres,
    /// The data folder; made if it is not there. Put it on a local disk: network file systems lie about `fsync`.
    pub path: PathBuf,
    /// Write calls that may share one commit, 1 to 100,000.
    pub max_group_jobs: NonZeroU32,
    /// Messages, settlements and events that may share one commit, 1 to 1,000,000. Lower it if single writes must not
    /// wait behind large ones.
    pub max_group_items: NonZeroU32,
    /// Write calls that may wait, 1 to 1,000,000; more are refused as busy.
    pub max_queued_jobs: NonZeroU32,
    /// Bytes that waiting write calls may hold, 1 MiB to 16 GiB; more are refused as busy.
    pub max_queued_bytes: ByteSize,
    /// Connections for reading, 1 to 64. Raise it where many twins are read at once and cores are free.
    pub max_readers: NonZeroU32,
    /// How long the store may work for one statement of a query over twins, 10 ms to 10 minutes; then the query is
    /// refused with advice to narrow it. Of either kind of store.
    pub query_timeout: HumanDuration,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            kind: StorageKind::default(),
            postgres: Postgres::default(),
            path: PathBuf::from("./.downlink"),
            max_group_jobs: nonzero_u32(1_024),
            max_group_items: nonzero_u32(4_096),
            max_queued_jobs: nonzero_u32(8_192),
            max_queued_bytes: ByteSize::from_kib(64 * 1_024),
            max_readers: nonzero_u32(2),
            query_timeout: HumanDuration::from_secs(10),
        }
    }
}

impl Storage {
    pub(super) fn check(&self, at: &mut Checker) {
        at.require(!self.path.as_os_str().is_empty(), "path", "is empty");
        at.number("max_group_jobs", self.max_group_jobs, 1..=100_000);
        at.number("max_group_items", self.max_group_items, 1..=1_000_000);
        at.number("max_queued_jobs", self.max_queued_jobs, 1..=1_000_000);
        at.size(
            "max_queued_bytes",
            self.max_queued_bytes,
            ByteSize::from_kib(1_024)..=ByteSize::from_kib(16 * 1_024 * 1_024),
        );
        at.number("max_readers", self.max_readers, 1..=64);
        at.duration(
            "query_timeout",
            self.query_timeout,
            HumanDuration::from_millis(10)..=HumanDuration::from_secs(600),
        );
        let is_used = self.kind == StorageKind::Postgres;
        at.section("postgres", |at| self.postgres.check(is_used, at));
    }
}
