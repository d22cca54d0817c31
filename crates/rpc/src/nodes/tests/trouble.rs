//! Nodes that break, fall silent, or were never there.

use std::time::{Duration, Instant};

use downlink_domain::access::Actor;
use downlink_domain::id::DeviceKey;
use downlink_ports::{PeerError, QueueApi};
use downlink_runtime::Lifecycle;
use futures::future::join_all;
use tokio::net::TcpListener;

use super::fixture::{
    Cable, QueueNode, addresses, device_of, event, message, options, owners, until,
};
use crate::queue_nodes;
use crate::testing::hub;

const UNAVAILABLE: PeerError = PeerError::Unavailable { service: "queue" };

/// Two nodes, each behind a cable.
struct Wired {
    nodes: Vec<QueueNode>,
    cables: Vec<Cable>,
    queue: std::sync::Arc<dyn QueueApi>,
    _caller: Lifecycle,
}

impl Wired {
    async fn new() -> Self {
        let caller = Lifecycle::new();
        let nodes = QueueNode::start_some(2).await;
        let mut cables = Vec::new();
        for node in &nodes {
            cables.push(Cable::to(node.address, &caller).await);
        }
        let ends: Vec<_> = cables.iter().map(|cable| cable.address).collect();
        let queue = queue_nodes(options(&ends), &caller);
        Self {
            nodes,
            cables,
            queue,
            _caller: caller,
        }
    }

    async fn enqueue(&self, device: usize, number: u64) -> Result<(), PeerError> {
        let accepted = self.queue.enqueue(vec![message(device, number)]).await?;
        accepted[0].as_ref().expect("a device with room");
        Ok(())
    }
}

#[tokio::test]
async fn a_node_that_is_not_there_costs_nothing_but_its_share() {
    let caller = Lifecycle::new();
    let node = QueueNode::start().await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr();
    let queue = queue_nodes(options(&[node.address, nobody.unwrap()]), &caller);
    let began = Instant::now();
    let all = (0..50).map(|device| message(device, 0)).collect();
    let accepted = queue.enqueue(all).await.unwrap();
    assert!(accepted.iter().all(Result::is_ok), "{accepted:?}");
    assert_eq!(queue.count(vec![DeviceKey(1)]).await, Ok(vec![7]));
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn without_any_node_calls_fail_at_once() {
    let caller = Lifecycle::new();
    let queue = queue_nodes(options(&[]), &caller);
    assert_eq!(queue.enqueue(vec![message(1, 1)]).await, Err(UNAVAILABLE));
    assert_eq!(queue.count(vec![DeviceKey(1)]).await, Err(UNAVAILABLE));
}

#[tokio::test]
async fn a_write_whose_outcome_is_unknown_is_not_made_again() {
    let wired = Wired::new().await;
    let device = device_of(&*wired.queue, &wired.nodes, 0).await;
    wired.nodes[0].hold();
    let cut = async {
        until(|| wired.nodes[0].log.has_messages()).await;
        wired.cables[0].cut();
    };
    let (enqueued, ()) = tokio::join!(wired.enqueue(device, 1), cut);
    assert_eq!(enqueued, Err(UNAVAILABLE));
    assert!(!wired.nodes[1].log.has_messages());
    // The next one is known not to reach the first.
    assert_eq!(wired.enqueue(device, 2).await, Ok(()));
    assert_eq!(wired.nodes[1].log.take_messages().len(), 1);
}

#[tokio::test]
async fn events_whose_outcome_is_unknown_are_recorded_by_the_next_node() {
    let wired = Wired::new().await;
    let events = || (0..20).map(event).collect::<Vec<_>>();
    wired.queue.record_events(events()).await.unwrap();
    let share = wired.nodes[0].log.take_events().len();
    let rest = wired.nodes[1].log.take_events().len();
    assert_eq!(share + rest, 20);
    wired.nodes[0].hold();
    let cut = async {
        until(|| wired.nodes[0].log.has_events()).await;
        wired.cables[0].cut();
    };
    let (recorded, ()) = tokio::join!(wired.queue.record_events(events()), cut);
    assert_eq!(recorded, Ok(()));
    assert_eq!(wired.nodes[1].log.take_events().len(), 20);
}

#[tokio::test]
async fn a_read_whose_outcome_is_unknown_is_asked_of_the_next_node() {
    let wired = Wired::new().await;
    for node in &wired.nodes {
        node.hold();
    }
    let counted = wired.queue.count(vec![DeviceKey(1)]);
    let cut = async {
        let asked = |node: usize| wired.nodes[node].log.counted() > 0;
        until(|| asked(0) || asked(1)).await;
        wired.cables[usize::from(asked(1))].cut();
        for node in &wired.nodes {
            node.release();
        }
    };
    let (counted, ()) = tokio::join!(counted, cut);
    assert_eq!(counted, Ok(vec![7]));
}

#[tokio::test]
async fn a_slow_read_is_also_asked_of_the_next_node() {
    let caller = Lifecycle::new();
    let nodes = QueueNode::start_some(2).await;
    let queue = queue_nodes(options(&addresses(&nodes)), &caller);
    for held in &nodes {
        held.hold();
        let counts = (0..16).map(|device| queue.count(vec![DeviceKey(device)]));
        let began = Instant::now();
        let counted = join_all(counts).await;
        assert!(counted.iter().all(Result::is_ok), "{counted:?}");
        assert!(began.elapsed() < Duration::from_secs(3));
        held.release();
    }
}

#[tokio::test]
async fn reads_that_every_node_is_slow_with_are_not_all_asked_twice() {
    const READS: i64 = 300;
    let caller = Lifecycle::new();
    let nodes = QueueNode::start_some(2).await;
    let queue = queue_nodes(options(&addresses(&nodes)), &caller);
    nodes.iter().for_each(QueueNode::hold);
    let counts = (0..READS).map(|device| queue.count(vec![DeviceKey(device)]));
    let asked = || nodes.iter().map(|node| node.log.counted()).sum::<usize>();
    let (counted, asked) = tokio::join!(join_all(counts), async {
        // Beyond the time after which a read is asked twice.
        tokio::time::sleep(Duration::from_secs(2)).await;
        let asked = asked();
        nodes.iter().for_each(QueueNode::release);
        asked
    });
    assert!(counted.iter().all(Result::is_ok), "{counted:?}");
    assert!((301..=364).contains(&asked), "{asked}");
}

#[tokio::test]
async fn a_silent_node_holds_writes_for_five_seconds_and_then_gets_none() {
    let wired = Wired::new().await;
    let device = device_of(&*wired.queue, &wired.nodes, 0).await;
    wired.cables[0].silence();
    let began = Instant::now();
    assert_eq!(wired.enqueue(device, 1).await, Err(UNAVAILABLE));
    assert!(
        began.elapsed() < Duration::from_secs(7),
        "{:?}",
        began.elapsed()
    );
    let began = Instant::now();
    for number in 2..50 {
        assert_eq!(wired.enqueue(device, number).await, Ok(()));
    }
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(wired.nodes[1].log.take_messages().len(), 48);

    wired.cables[0].mend();
    let node = &wired.nodes[0];
    let back = async {
        while !node.log.has_messages() {
            assert_eq!(wired.enqueue(device, 50).await, Ok(()));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let back = tokio::time::timeout(crate::testing::PATIENCE, back).await;
    back.expect("the device goes back to its node");
}

#[tokio::test]
async fn a_node_that_accepts_and_never_answers_keeps_no_call_for_long() {
    let caller = Lifecycle::new();
    let node = QueueNode::start().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addresses = [node.address, silent.local_addr().unwrap()];
    let queue = queue_nodes(options(&addresses), &caller);
    let began = Instant::now();
    let all = (0..50).map(|device| message(device, 0)).collect();
    let accepted = queue.enqueue(all).await.unwrap();
    assert!(accepted.iter().all(Result::is_ok), "{accepted:?}");
    assert!(
        began.elapsed() < Duration::from_secs(7),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(node.log.take_messages().len(), 50);
}

#[tokio::test]
async fn a_killed_node_loses_what_it_held_and_its_devices_go_elsewhere() {
    let caller = Lifecycle::new();
    let mut nodes = QueueNode::start_some(2).await;
    let queue = queue_nodes(options(&addresses(&nodes)), &caller);
    let device = device_of(&*queue, &nodes, 0).await;
    nodes[0].kill().await;
    let send = |number| queue.enqueue(vec![message(device, number)]);
    // Until the caller has seen the end of its connection a call may go into it.
    let _ = send(1).await;
    assert!(send(2).await.unwrap()[0].is_ok());
    assert_eq!(
        queue
            .purge(hub(), message(device, 0).device, Actor::operator())
            .await
            .map(|p| p.removed),
        Ok(1)
    );
    nodes[0].restart().await;
    let all = || (0..50).map(|device| message(device, 0)).collect::<Vec<_>>();
    let back = async {
        owners(&nodes[1..]);
        while queue.enqueue(all()).await.is_ok() && !nodes[0].log.has_messages() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let back = tokio::time::timeout(crate::testing::PATIENCE, back).await;
    back.expect("the devices go back to their node");
}
