//! Nodes that drain and start again while calls are in flight all the time.

use downlink_domain::access::Actor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use downlink_ports::{PeerError, QueueApi};
use downlink_runtime::{Lifecycle, OnError, Shutdown};
use futures::future::join_all;
use tokio::sync::oneshot;

use super::fixture::{QueueNode, addresses, device_of, event, message, options, owners, until};
use crate::queue_nodes;
use crate::testing::{PATIENCE, hub};

/// Callers that never stop, and what became of their calls.
struct Load {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    callers: Vec<oneshot::Receiver<Result<(), PeerError>>>,
}

impl Load {
    fn start(queue: &Arc<dyn QueueApi>, lifecycle: &Lifecycle) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let answered = Arc::new(AtomicU64::new(0));
        let callers = (0..24).map(|caller| {
            let (queue, is_over) = (Arc::clone(queue), Arc::clone(&is_over));
            let answered = Arc::clone(&answered);
            let (done, result) = oneshot::channel();
            lifecycle.spawn("caller", OnError::Log, async move {
                let mut number = 0;
                let outcome = loop {
                    if is_over.load(Ordering::Relaxed) {
                        break Ok(());
                    }
                    if let Err(error) = call(&*queue, caller, number).await {
                        break Err(error);
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                    number += 1;
                };
                let _ = done.send(outcome);
            });
            result
        });
        let callers = callers.collect();
        Self {
            is_over,
            answered,
            callers,
        }
    }

    /// Waits until `count` more calls were answered.
    async fn advance(&self, count: u64) {
        let goal = self.answered.load(Ordering::Relaxed) + count;
        let reached = async {
            while self.answered.load(Ordering::Relaxed) < goal {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached)
            .await
            .expect("calls are answered");
    }

    #[track_caller]
    fn end(self) -> impl Future<Output = Vec<Result<(), PeerError>>> {
        self.is_over.store(true, Ordering::Relaxed);
        async {
            let ended = join_all(self.callers).await;
            ended.into_iter().map(Result::unwrap).collect()
        }
    }
}

/// One call of each kind in turn; none of them may fail.
async fn call(queue: &dyn QueueApi, caller: usize, number: u64) -> Result<(), PeerError> {
    let device = caller * 100 + usize::try_from(number % 50).unwrap();
    match caller % 4 {
        0 | 1 => {
            let batch = vec![message(device, number), message(device + 1, number)];
            for accepted in queue.enqueue(batch).await? {
                assert!(accepted.is_ok(), "{accepted:?}");
            }
        }
        2 => {
            let device = i64::try_from(device).unwrap();
            queue.record_events(vec![event(device)]).await?;
        }
        _ => {
            // Writes over the unary channel: not repeated when their outcome is unknown.
            let device = format!("device-{device}").parse().unwrap();
            queue.purge(hub(), device, Actor::operator()).await?;
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_see_nothing_of_nodes_that_are_restarted_one_after_the_other() {
    let caller = Lifecycle::new();
    let mut nodes = QueueNode::start_some(2).await;
    let queue = queue_nodes(options(&addresses(&nodes)), &caller);
    let load = Load::start(&queue, &caller);
    load.advance(500).await;
    for round in 0..4 {
        let node = &mut nodes[round % 2];
        let ended = node.lifecycle.shutdown(PATIENCE).await;
        assert_eq!(ended, Shutdown::Drained);
        node.restart().await;
        load.advance(200).await;
    }
    let results = load.end().await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_restarted_gets_its_devices_back() {
    let caller = Lifecycle::new();
    let mut nodes = QueueNode::start_some(2).await;
    let queue = queue_nodes(options(&addresses(&nodes)), &caller);
    let all = || (0..50).map(|device| message(device, 0)).collect::<Vec<_>>();
    queue.enqueue(all()).await.unwrap();
    let before = owners(&nodes);
    nodes[0].stop().await;
    nodes[0].restart().await;
    let back = async {
        loop {
            queue.enqueue(all()).await.unwrap();
            if owners(&nodes) == before {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, back)
        .await
        .expect("they come back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_waits_for_the_answers_of_calls_under_way_and_new_ones_go_elsewhere() {
    let caller = Lifecycle::new();
    let nodes = QueueNode::start_some(2).await;
    let queue = queue_nodes(options(&addresses(&nodes)), &caller);
    let device = device_of(&*queue, &nodes, 0).await;
    nodes[0].hold();
    let held = {
        let queue = Arc::clone(&queue);
        let (done, result) = oneshot::channel();
        caller.spawn("held", OnError::Log, async move {
            let _ = done.send(queue.enqueue(vec![message(device, 1)]).await);
        });
        result
    };
    until(|| nodes[0].log.has_messages()).await;
    let follow = async {
        // The caller hears of the drain while its call is still under way.
        while !nodes[1].log.has_messages() {
            let next = queue.enqueue(vec![message(device, 2)]);
            let next = tokio::time::timeout(Duration::from_millis(50), next).await;
            assert!(next.is_err() || next.unwrap().unwrap()[0].is_ok());
        }
        nodes[0].release();
        assert!(held.await.unwrap().unwrap()[0].is_ok());
    };
    tokio::join!(nodes[0].stop(), follow);
    assert!(queue.enqueue(vec![message(device, 3)]).await.unwrap()[0].is_ok());
}
