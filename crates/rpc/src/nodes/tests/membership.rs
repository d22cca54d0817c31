//! Nodes that come and go with what their names stand for.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::id::DeviceKey;
use downlink_ports::{PeerError, QueueApi};
use downlink_runtime::{Lifecycle, OnError};
use parking_lot::Mutex;

use super::fixture::{QueueNode, addresses, device_of, message, options, owners, until};
use crate::nodes::resolve::Resolve;
use crate::nodes::{MAX_NODES, Members, Peer};
use crate::queue::{GrpcQueueClient, QueueStream};
use crate::{NodesOptions, queue_nodes};

/// Names and what they stand for; a name that is not there fails.
#[derive(Clone, Default)]
struct Names {
    names: Arc<Mutex<HashMap<String, Vec<SocketAddr>>>>,
    lookups: Arc<AtomicUsize>,
}

#[async_trait]
impl Resolve for Names {
    async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        let found = self.names.lock().get(name).cloned();
        self.lookups.fetch_add(1, Ordering::Relaxed);
        found.ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Names {
    fn set(&self, addresses: &[SocketAddr]) {
        let name = "queue.internal:7000".to_owned();
        self.names.lock().insert(name, addresses.to_vec());
    }

    fn clear(&self) {
        self.names.lock().clear();
    }

    /// Waits for two more look-ups: the second begins after the first was taken in.
    async fn looked_up(&self) {
        let before = self.lookups.load(Ordering::Relaxed);
        until(|| self.lookups.load(Ordering::Relaxed) > before + 1).await;
    }

    fn peer(&self, lifecycle: &Lifecycle) -> Peer<QueueStream> {
        let options = NodesOptions {
            addresses: vec!["queue.internal:7000".to_owned()],
            ..options(&[])
        };
        let mux = options.mux;
        Peer::many(Members::follow(options, self.clone(), lifecycle), &mux)
    }
}

async fn enqueue_to_all(queue: &dyn QueueApi) {
    let all = (0..60).map(|device| message(device, 0)).collect();
    let accepted = queue.enqueue(all).await.unwrap();
    assert!(accepted.iter().all(Result::is_ok), "{accepted:?}");
}

#[tokio::test]
async fn nodes_join_and_leave_with_their_names() {
    let caller = Lifecycle::new();
    let nodes = QueueNode::start_some(3).await;
    let all = addresses(&nodes);
    let names = Names::default();
    names.set(&all[..1]);
    let queue = GrpcQueueClient::over(names.peer(&caller));
    enqueue_to_all(&queue).await;
    assert!(owners(&nodes).values().all(|owner| *owner == 0));

    names.set(&all);
    let shared = async {
        loop {
            enqueue_to_all(&queue).await;
            let owners = owners(&nodes);
            if (0..3).all(|node| owners.values().any(|owner| *owner == node)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(crate::testing::PATIENCE, shared)
        .await
        .expect("every node gets its share");

    names.set(&all[1..]);
    names.looked_up().await;
    enqueue_to_all(&queue).await;
    assert!(owners(&nodes).values().all(|owner| *owner != 0));
}

#[tokio::test]
async fn calls_under_way_to_a_node_that_left_are_answered() {
    let caller = Lifecycle::new();
    let nodes = QueueNode::start_some(2).await;
    let names = Names::default();
    names.set(&addresses(&nodes));
    let queue = Arc::new(GrpcQueueClient::over(names.peer(&caller)));
    let device = device_of(&*queue, &nodes, 0).await;
    nodes[0].hold();
    let (done, held) = tokio::sync::oneshot::channel();
    let own = Arc::clone(&queue);
    caller.spawn("held", OnError::Log, async move {
        let _ = done.send(own.enqueue(vec![message(device, 1)]).await);
    });
    until(|| nodes[0].log.has_messages()).await;
    names.set(&addresses(&nodes)[1..]);
    names.looked_up().await;
    enqueue_to_all(&*queue).await;
    nodes[0].release();
    assert!(held.await.unwrap().unwrap()[0].is_ok());
    assert_eq!(nodes[0].log.take_messages().len(), 1);
}

#[tokio::test]
async fn a_look_up_that_fails_or_finds_nothing_keeps_the_nodes() {
    let caller = Lifecycle::new();
    let nodes = QueueNode::start_some(1).await;
    let names = Names::default();
    names.set(&addresses(&nodes));
    let queue = GrpcQueueClient::over(names.peer(&caller));
    enqueue_to_all(&queue).await;
    names.clear();
    names.looked_up().await;
    enqueue_to_all(&queue).await;
    names.set(&[]);
    names.looked_up().await;
    enqueue_to_all(&queue).await;
    assert_eq!(nodes[0].log.take_messages().len(), 180);
}

#[tokio::test]
async fn calls_wait_for_the_first_look_up_and_fail_when_it_finds_nothing() {
    let caller = Lifecycle::new();
    let names = Names::default();
    let queue = GrpcQueueClient::over(names.peer(&caller));
    let unavailable = PeerError::Unavailable { service: "queue" };
    assert_eq!(queue.count(vec![DeviceKey(1)]).await, Err(unavailable));
    // Looked up again soon, not only at the next refresh.
    let nodes = QueueNode::start_some(1).await;
    names.set(&addresses(&nodes));
    let found = async {
        while queue.count(vec![DeviceKey(1)]).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let found = tokio::time::timeout(crate::testing::PATIENCE, found).await;
    found.expect("the node is found");
}

#[tokio::test]
async fn no_more_nodes_are_used_than_the_bound_allows() {
    let caller = Lifecycle::new();
    let names = Names::default();
    // Nobody listens at any of them.
    let too_many = (0..u16::try_from(MAX_NODES).unwrap() + 10)
        .map(|port| SocketAddr::from(([127, 0, 0, 1], 1 + port % 7)))
        .zip(0..)
        .map(|(address, n): (SocketAddr, u32)| {
            let [_, a, b, c] = n.to_be_bytes();
            SocketAddr::from(([127, 200 + a, b, c], address.port()))
        });
    names.set(&too_many.collect::<Vec<_>>());
    let peer = names.peer(&caller);
    let deadline = tokio::time::Instant::now() + crate::testing::PATIENCE;
    let set = peer.nodes(deadline).await.unwrap();
    assert_eq!(set.len(), MAX_NODES);
}

#[tokio::test]
async fn the_name_of_this_machine_is_looked_up() {
    let caller = Lifecycle::new();
    let node = QueueNode::start_at_localhost().await;
    let options = NodesOptions {
        addresses: vec![format!("localhost:{}", node.address.port())],
        ..options(&[])
    };
    // It may stand for two addresses, of which one has nobody.
    let queue = queue_nodes(options, &caller);
    enqueue_to_all(&*queue).await;
    assert_eq!(node.log.take_messages().len(), 60);
}
