//! Which node gets what.

use std::collections::HashMap;

use downlink_domain::id::{DeviceKey, LockToken, SequenceNumber};
use downlink_domain::message::{Settlement, Verdict};
use downlink_ports::{QueueApi, ReceiveCall, SettleError};
use downlink_runtime::Lifecycle;
use futures::future::join_all;

use super::fixture::{QueueNode, addresses, event, message, options, owners};
use crate::nodes::rank::{hash_of, score};
use crate::queue_nodes;

const DEVICES: usize = 900;

async fn enqueue_to_all(queue: &dyn QueueApi) {
    let messages: Vec<_> = (0..DEVICES).zip(0..).map(|(d, n)| message(d, n)).collect();
    let accepted = queue.enqueue(messages).await.unwrap();
    // Answers stand where their messages stood.
    for (answer, number) in accepted.into_iter().zip(0..) {
        assert_eq!(answer.unwrap().sequence, SequenceNumber(number));
    }
}

#[test]
fn keys_spread_evenly_and_only_those_of_a_node_that_leaves_move() {
    let keys: Vec<u64> = (0..30_000).map(|key| hash_of(&DeviceKey(key))).collect();
    for count in [2_usize, 3, 10, 100] {
        let nodes: Vec<u64> = (0..count)
            .map(|node| hash_of(&format!("10.0.0.{node}:7000")))
            .collect();
        let pick = |key: u64, without: Option<usize>| {
            (0..count)
                .filter(|node| Some(*node) != without)
                .max_by_key(|node| score(key, nodes[*node]))
                .unwrap()
        };
        let mut shares: HashMap<usize, usize> = HashMap::new();
        let mut heirs: HashMap<usize, usize> = HashMap::new();
        for key in &keys {
            let before = pick(*key, None);
            *shares.entry(before).or_default() += 1;
            let after = pick(*key, Some(0));
            if before == 0 {
                *heirs.entry(after).or_default() += 1;
            } else {
                assert_eq!(before, after);
            }
        }
        let fair = keys.len() / count;
        assert_eq!(shares.len(), count);
        for share in shares.values() {
            assert!(share.abs_diff(fair) < fair / 4, "{share} of {fair}");
        }
        // What leaves is shared among those who stay.
        assert!(heirs.len() > (count - 1) * 3 / 4, "{}", heirs.len());
    }
}

#[tokio::test]
async fn devices_spread_over_nodes_and_only_those_of_a_node_that_leaves_move() {
    let caller = Lifecycle::new();
    let nodes = QueueNode::start_some(3).await;
    let queue = queue_nodes(options(&addresses(&nodes)), &caller);
    enqueue_to_all(&*queue).await;
    let before = owners(&nodes);
    assert_eq!(before.len(), DEVICES);
    for node in 0..nodes.len() {
        let share = before.values().filter(|owner| **owner == node).count();
        assert!(share.abs_diff(DEVICES / 3) < DEVICES / 10, "{share}");
    }
    enqueue_to_all(&*queue).await;
    assert_eq!(owners(&nodes), before);

    nodes[0].stop().await;
    enqueue_to_all(&*queue).await;
    let after = owners(&nodes);
    for (device, owner) in &before {
        assert!(*owner == 0 || after[device] == *owner, "{device} moved");
        assert_ne!(after[device], 0);
    }
    let heirs: std::collections::HashSet<_> = before
        .iter()
        .filter(|(_, owner)| **owner == 0)
        .map(|(device, _)| after[device])
        .collect();
    assert_eq!(heirs.len(), 2);
}

#[tokio::test]
async fn two_callers_choose_alike_whatever_the_order_of_their_addresses() {
    let caller = Lifecycle::new();
    let nodes = QueueNode::start_some(3).await;
    let mut order = addresses(&nodes);
    let first = queue_nodes(options(&order), &caller);
    enqueue_to_all(&*first).await;
    let chosen = owners(&nodes);
    order.reverse();
    let second = queue_nodes(options(&order), &caller);
    enqueue_to_all(&*second).await;
    assert_eq!(owners(&nodes), chosen);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_one_device_stay_in_order_under_concurrency() {
    let caller = Lifecycle::new();
    let nodes = QueueNode::start_some(3).await;
    let mut options = options(&addresses(&nodes));
    options.mux.lanes = 2;
    let queue = queue_nodes(options, &caller);
    let senders = (0..20).map(|device| {
        let queue = queue.clone();
        async move {
            // Some at a time in flight: a lane keeps the order in which they were made.
            for round in 0..10 {
                let burst = (0..10).map(|n| {
                    let number = round * 20 + n * 2;
                    queue.enqueue(vec![message(device, number), message(device, number + 1)])
                });
                let results = join_all(burst).await;
                assert!(
                    results
                        .into_iter()
                        .flatten()
                        .flatten()
                        .all(|one| one.is_ok())
                );
            }
        }
    });
    join_all(senders).await;
    let mut next: HashMap<_, u64> = HashMap::new();
    for node in &nodes {
        for (device, number) in node.log.take_messages() {
            let next = next.entry(device).or_default();
            assert_eq!(number, *next);
            *next += 1;
        }
    }
    assert!(next.len() == 20 && next.values().all(|next| *next == 200));
}

#[tokio::test]
async fn answers_of_every_batched_call_stand_where_their_items_stood() {
    let caller = Lifecycle::new();
    let nodes = QueueNode::start_some(3).await;
    let queue = queue_nodes(options(&addresses(&nodes)), &caller);
    let settlements = (0..100_u64).map(|n| Settlement {
        device: DeviceKey(i64::try_from(n).unwrap()),
        sequence: SequenceNumber(n),
        token: LockToken([1; 16]),
        verdict: Verdict::Complete,
    });
    let settled = queue.settle(settlements.collect()).await.unwrap();
    let expected = (0..100).map(|n| match n % 2 {
        0 => Ok(()),
        _ => Err(SettleError::LockLost),
    });
    assert!(settled.into_iter().eq(expected));
    let call = |device| ReceiveCall {
        device: DeviceKey(device),
        limit: 1,
        lock_duration: None,
    };
    let held = queue.receive((0..100).map(call).collect()).await.unwrap();
    assert_eq!(held.len(), 100);
    queue
        .record_events((0..100).map(event).collect())
        .await
        .unwrap();
    let recorded = nodes.iter().map(|node| node.log.take_events().len());
    let recorded: Vec<_> = recorded.collect();
    assert!(recorded.iter().all(|share| *share > 0), "{recorded:?}");
    assert_eq!(recorded.iter().sum::<usize>(), 100);
    assert_eq!(
        queue.count(vec![DeviceKey(1), DeviceKey(2)]).await,
        Ok(vec![7, 7])
    );
}
