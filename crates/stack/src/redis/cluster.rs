//! A Redis cluster of three masters.

use std::time::Duration;

use crate::StackError;
use crate::error::expect;
use crate::ports::Port;
use crate::waiting::until;

use super::node::Node;
use super::resp::Reply;

/// The first and last slot of each master.
const SLOTS: [(u16, u16); 3] = [(0, 5460), (5461, 10_922), (10_923, 16_383)];

/// The longest until every node calls the cluster whole.
const FORMING_TIMEOUT: Duration = Duration::from_secs(30);

/// Three masters that share the keys; none has a replica.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Node>,
    /// The ports by which the nodes speak to each other.
    _bus: Vec<Port>,
}

impl RedisCluster {
    /// Starts the nodes and waits until each calls the cluster whole.
    ///
    /// # Panics
    /// As [`RedisCluster::try_start`] fails.
    #[track_caller]
    pub fn start() -> Self {
        expect(Self::try_start())
    }

    /// Starts the nodes and waits until each calls the cluster whole.
    ///
    /// # Errors
    /// Redis 7 is not installed, or the nodes did not start or find each other.
    pub fn try_start() -> Result<Self, StackError> {
        let mut nodes = Vec::new();
        let mut bus = Vec::new();
        for (index, (first, last)) in SLOTS.into_iter().enumerate() {
            let port = Port::reserve()?;
            let node = start_node(port.number())?;
            let (first, last) = (first.to_string(), last.to_string());
            // Equal epochs would have to be argued out.
            let epoch = (index + 1).to_string();
            node.tell(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch])?;
            node.tell(&["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
            nodes.push(node);
            bus.push(port);
        }
        for (other, bus_port) in nodes.iter().zip(&bus).skip(1) {
            let (port, bus_port) = (other.port().to_string(), bus_port.number().to_string());
            nodes[0].tell(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus_port])?;
        }
        for node in &nodes {
            until("the forming of the cluster", FORMING_TIMEOUT, || {
                is_whole(node).into()
            })?;
        }
        Ok(Self { nodes, _bus: bus })
    }

    /// The addresses of the nodes.
    pub fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(Node::url).collect()
    }
}

fn start_node(bus_port: u16) -> Result<Node, StackError> {
    let bus_port = bus_port.to_string();
    Node::start(&[
        "--cluster-enabled",
        "yes",
        "--cluster-port",
        &bus_port,
        "--cluster-node-timeout",
        "2000",
    ])
}

fn is_whole(node: &Node) -> Result<(), String> {
    match node.ask(&["CLUSTER", "INFO"])? {
        Reply::Text(text)
            if text.contains("cluster_state:ok") && text.contains("cluster_known_nodes:3") =>
        {
            Ok(())
        }
        other => Err(format!("{other:?}")),
    }
}
