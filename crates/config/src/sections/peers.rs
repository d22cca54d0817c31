//! How the services reach each other.

use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU16, NonZeroU32};

use serde::{Deserialize, Serialize};

use super::backing::is_host_and_port;
use super::{nonzero_u16, nonzero_u32};
use crate::human::{HumanDuration, List};
use crate::violation::Checker;

/// How services in processes of their own reach each other: gRPC without TLS, for a network that clients cannot enter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
pub struct Peers {
    /// Nodes of the queue service, `host:port`. A name may stand for many addresses, as a headless Kubernetes service
    /// does; each is a node.
    pub queue: List<String>,
    /// Nodes of the method-router service.
    pub methods: List<String>,
    /// Nodes of the twin service.
    pub twins: List<String>,
    /// Time between two looks at the names, 100 ms to 10 minutes.
    pub refresh: HumanDuration,
    /// The IP address on which this process answers its peers. Set `0.0.0.0` or `::` to let those of other machines in.
    pub listen_address: IpAddr,
    /// The port of it; 0 takes a free one.
    pub port: u16,
    /// `host:port` by which peers reach this gateway; not set: `listen_address` and the port. A gateway that listens on
    /// `0.0.0.0` or `::` needs it.
    pub advertise: String,
    /// Connections to each node, 1 to 16. More use more processors at both ends but make smaller batches.
    pub lanes: NonZeroU16,
    /// Deadline of a call that has none of its own, 100 ms to 5 minutes.
    pub call_timeout: HumanDuration,
    /// Open connections of peers, 1 to 100,000; others wait.
    pub max_connections: NonZeroU32,
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            queue: List::default(),
            methods: List::default(),
            twins: List::default(),
            refresh: HumanDuration::from_secs(5),
            listen_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 5190,
            advertise: String::new(),
            lanes: nonzero_u16(1),
            call_timeout: HumanDuration::from_secs(10),
            max_connections: nonzero_u32(4_096),
        }
    }
}

impl Peers {
    pub(super) fn check(&self, at: &mut Checker) {
        let lists = [
            ("queue", &self.queue),
            ("methods", &self.methods),
            ("twins", &self.twins),
        ];
        for (field, nodes) in lists {
            for node in nodes.as_slice() {
                at.require(
                    is_host_and_port(node),
                    field,
                    format_args!("{node:?} is not host:port"),
                );
            }
        }
        let least = HumanDuration::from_millis(100);
        at.duration(
            "refresh",
            self.refresh,
            least..=HumanDuration::from_secs(600),
        );
        at.duration(
            "call_timeout",
            self.call_timeout,
            least..=HumanDuration::from_secs(300),
        );
        at.require(
            self.advertise.is_empty() || is_host_and_port(&self.advertise),
            "advertise",
            format_args!("{:?} is not host:port", self.advertise),
        );
        at.number("lanes", self.lanes, 1..=16);
        at.number("max_connections", self.max_connections, 1..=100_000);
    }
}
