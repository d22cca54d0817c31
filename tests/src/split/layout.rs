//! Which process answers at which loopback address.

use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv4Addr};

/// The port on which a process answers its peers.
const PEER_PORT: u16 = 5190;
/// The port on which a process answers its operators.
pub(super) const OPERATOR_PORT: u16 = 9180;

/// The doors of one gateway: address, and ports; 0 takes a free one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doors {
    /// Where clients connect.
    pub address: IpAddr,
    /// MQTT over TLS.
    pub mqtts: u16,
    /// AMQP over TLS.
    pub amqps: u16,
    /// HTTPS.
    pub https: u16,
    /// gRPC over TLS.
    pub grpc: u16,
}

impl Doors {
    /// The ports that the SDKs expect, gRPC on 5180.
    pub fn usual(address: IpAddr) -> Self {
        Self {
            address,
            mqtts: 8883,
            amqps: 5671,
            https: 443,
            grpc: 5180,
        }
    }

    pub(super) fn settings(&self) -> [String; 5] {
        [
            format!("listen.addresses={}", self.address),
            format!("listen.mqtts_port={}", self.mqtts),
            format!("listen.amqps_port={}", self.amqps),
            format!("listen.https_port={}", self.https),
            format!("listen.grpc_port={}", self.grpc),
        ]
    }
}

/// The gateways of a hub.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// One entry for each gateway.
    pub gateways: Vec<Doors>,
}

impl Layout {
    /// Two gateways behind one address: devices reach the first, back-ends the second.
    pub fn devices_and_back_ends(address: IpAddr) -> Self {
        let none = Doors {
            address,
            mqtts: 0,
            amqps: 0,
            https: 0,
            grpc: 0,
        };
        let usual = Doors::usual(address);
        let for_devices = Doors {
            mqtts: usual.mqtts,
            ..none
        };
        let for_back_ends = Doors { mqtts: 0, ..usual };
        Self {
            gateways: vec![for_devices, for_back_ends],
        }
    }

    /// One gateway for each address, each with every door.
    pub fn whole(addresses: &[IpAddr]) -> Self {
        Self {
            gateways: addresses.iter().copied().map(Doors::usual).collect(),
        }
    }
}

/// Inner addresses of the processes of one hub, all in one network of 127.0.0.0/8 that is drawn
/// at random.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) queues: Vec<IpAddr>,
    pub(super) routers: Vec<IpAddr>,
    pub(super) twins: Vec<IpAddr>,
    pub(super) gateways: Vec<IpAddr>,
}

impl Places {
    pub(super) fn new(nodes: usize, gateways: usize) -> Self {
        // A fresh state is seeded anew: it is the random number of the standard library.
        let draw = RandomState::new()
            .hash_one(std::process::id())
            .to_be_bytes();
        let (second, third) = (100 + draw[0] % 150, draw[1]);
        let mut next = 0;
        let mut take = |count: usize| {
            (0..count)
                .map(|_| {
                    next += 1;
                    IpAddr::from(Ipv4Addr::new(127, second, third, next))
                })
                .collect()
        };
        Self {
            queues: take(nodes),
            routers: take(nodes),
            twins: take(nodes),
            gateways: take(gateways),
        }
    }

    pub(super) fn peer_settings(&self) -> [String; 4] {
        let list = |addresses: &[IpAddr]| {
            let nodes: Vec<_> = addresses
                .iter()
                .map(|address| format!("{address}:{PEER_PORT}"))
                .collect();
            nodes.join(",")
        };
        [
            format!("peers.queue={}", list(&self.queues)),
            format!("peers.methods={}", list(&self.routers)),
            format!("peers.twins={}", list(&self.twins)),
            format!("peers.port={PEER_PORT}"),
        ]
    }
}
