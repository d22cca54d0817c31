//! The order of what one batch says about one device.

use bytes::Bytes;
use downlink_domain::message::NewMessage;
use downlink_proto::v1;
use downlink_proto::v1::queue_call::Call;
use downlink_runtime::Lifecycle;
use tokio::time::Instant;

use super::fixture::{CALL_TIMEOUT, QueueNode, addresses, message, options};
use crate::mux::{Item, MAX_CALL_ITEMS};
use crate::nodes::resolve::SystemResolver;
use crate::nodes::{Members, Peer, Repeat};
use crate::queue::QueueStream;

/// So large that a call has room for one.
fn large(number: u64) -> NewMessage {
    NewMessage {
        body: Bytes::from(vec![0; 600 * 1024]),
        ..message(1, number)
    }
}

#[tokio::test]
async fn a_node_that_breaks_while_a_batch_is_added_leaves_the_order_of_its_calls() {
    let caller = Lifecycle::new();
    let nodes = QueueNode::start_some(2).await;
    let options = options(&addresses(&nodes));
    let mux = options.mux;
    let peer: Peer<QueueStream> =
        Peer::many(Members::follow(options, SystemResolver, &caller), &mux);
    let set = peer.nodes(Instant::now() + CALL_TIMEOUT).await.unwrap();
    let hash = set.hash_of(&message(1, 0).lane_key());
    let enqueue = |breaks_at: usize, messages: Vec<NewMessage>| {
        let (peer, set) = (&peer, &set);
        let calls = std::cell::Cell::new(0);
        let make = move |messages| {
            calls.set(calls.get() + 1);
            if calls.get() == breaks_at {
                let lane = set.node(set.pick(hash, None).unwrap()).lane(hash);
                lane.on_break();
                lane.on_down();
            }
            Call::Enqueue(v1::EnqueueCall { messages })
        };
        let read = |_, positions: &[usize]| Ok(vec![(); positions.len()]);
        async move {
            let answers = peer
                .call_with_each_item(messages, Repeat::Never, make, read)
                .await;
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
        }
    };
    // Both are reached before anything breaks.
    enqueue(MAX_CALL_ITEMS, (0..50).map(|n| message(n, 0)).collect()).await;
    for breaks_at in 1..=4 {
        for node in &nodes {
            node.log.take_messages();
        }
        enqueue(breaks_at, (1..=4).map(large).collect()).await;
        let taken = nodes.iter().map(|node| node.log.take_messages());
        let taken: Vec<Vec<u64>> = taken
            .map(|messages| messages.iter().map(|(_, number)| *number).collect())
            .filter(|numbers: &Vec<u64>| !numbers.is_empty())
            .collect();
        assert_eq!(taken, [[1, 2, 3, 4]], "broken at {breaks_at}");
        super::fixture::until(|| {
            let standing = |node| set.node(node).lane(hash).standing();
            (0..2).all(|node| standing(node) == crate::mux::Standing::Ready)
        })
        .await;
    }
}
