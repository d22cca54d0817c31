//! Prints what it costs to pick a node: calls over one fixed connection against calls that choose
//! among one and three nodes, all over loopback TCP.
//!
//! `cargo run --release --example nodes -p downlink-rpc`
#![expect(clippy::print_stdout, reason = "a program for a terminal")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::access::Actor;
use downlink_domain::event::Event;
use downlink_domain::id::{DeviceId, LockToken};
use downlink_domain::id::{DeviceKey, HubName, SequenceNumber};
use downlink_domain::message::feedback::FeedbackBatch;
use downlink_domain::message::{AckMode, NewMessage, Properties, Settlement, Verdict};
use downlink_ports::{
    EnqueueError, Enqueued, LockedMessage, PeerError, PurgeOutcome, QueueApi, ReceiveCall,
    SettleError,
};
use downlink_rpc::{
    Acceptor, Endpoint, GrpcQueueClient, MuxOptions, NodesOptions, Services, queue_nodes,
};
use downlink_runtime::{Lifecycle, OnError};
use futures::future::join_all;
use tokio::net::TcpListener;

/// How long each figure is measured, once in every round.
const SLICE: Duration = Duration::from_millis(250);
/// Rounds: the ways take turns, so that a busy moment of the machine meets all of them.
const ROUNDS: usize = 8;

/// A queue that accepts everything at once.
struct InstantQueue;

#[async_trait]
impl QueueApi for InstantQueue {
    async fn enqueue(
        &self,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<Result<Enqueued, EnqueueError>>, PeerError> {
        let accept = |(_, sequence)| {
            Ok(Enqueued {
                device: DeviceKey(1),
                sequence: SequenceNumber(sequence),
            })
        };
        Ok(messages.into_iter().zip(0..).map(accept).collect())
    }

    async fn receive(&self, calls: Vec<ReceiveCall>) -> Result<Vec<Vec<LockedMessage>>, PeerError> {
        Ok(vec![Vec::new(); calls.len()])
    }

    async fn settle(
        &self,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<Result<(), SettleError>>, PeerError> {
        Ok(vec![Ok(()); settlements.len()])
    }

    async fn record_events(&self, _: Vec<Event>) -> Result<(), PeerError> {
        Ok(())
    }

    async fn purge(&self, _: HubName, _: DeviceId, _: Actor) -> Result<PurgeOutcome, PeerError> {
        Ok(PurgeOutcome { removed: 0 })
    }

    async fn count(&self, devices: Vec<DeviceKey>) -> Result<Vec<u64>, PeerError> {
        Ok(vec![0; devices.len()])
    }

    async fn receive_feedback(
        &self,
        _: HubName,
        _: Duration,
    ) -> Result<Option<FeedbackBatch>, PeerError> {
        Ok(None)
    }

    async fn settle_feedback(
        &self,
        _: HubName,
        _: LockToken,
        _: Verdict,
    ) -> Result<Result<(), SettleError>, PeerError> {
        Ok(Ok(()))
    }
}

fn message(device: u64) -> NewMessage {
    NewMessage {
        hub: "hub.example.net".parse().expect("a valid host name"),
        device: format!("device-{device}").parse().expect("a valid id"),
        properties: Properties {
            message_id: Some("0123456789abcdef".to_owned()),
            ..Properties::default()
        },
        ack: AckMode::None,
        expiry: None,
        body: Bytes::from_static(&[7; 200]),
    }
}

/// Messages a second with `in_flight` callers that each enqueue batches of `batch` at a time.
async fn measure(
    queue: &Arc<dyn QueueApi>,
    in_flight: u64,
    batch: u64,
    lifecycle: &Lifecycle,
) -> f64 {
    let calls = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let callers = (0..in_flight).map(|caller| {
        let (queue, calls) = (Arc::clone(queue), Arc::clone(&calls));
        let (done, finished) = tokio::sync::oneshot::channel();
        lifecycle.spawn("caller", OnError::Shutdown, async move {
            let messages: Vec<_> = (0..batch).map(|n| message(caller * batch + n)).collect();
            while began.elapsed() < SLICE {
                queue.enqueue(messages.clone()).await?;
                calls.fetch_add(batch, Ordering::Relaxed);
            }
            let _ = done.send(());
            Ok::<(), PeerError>(())
        });
        finished
    });
    let callers: Vec<_> = callers.collect();
    join_all(callers).await;
    let calls = u32::try_from(calls.load(Ordering::Relaxed)).map_or(f64::MAX, f64::from);
    calls / began.elapsed().as_secs_f64()
}

async fn serve(lifecycle: &Lifecycle) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let acceptor = Acceptor::tcp(listener, 16);
    let address = acceptor.local_addr().expect("a TCP address").to_string();
    Services::new(lifecycle)
        .with_queue(Arc::new(InstantQueue))
        .serve(acceptor);
    address
}

#[tokio::main]
async fn main() {
    let lifecycle = Lifecycle::new();
    let mut addresses = Vec::new();
    for _ in 0..3 {
        addresses.push(serve(&lifecycle).await);
    }
    let fixed = Endpoint::tcp(&addresses[0]);
    let fixed = GrpcQueueClient::new(&fixed, MuxOptions::default(), &lifecycle);
    let nodes = |count: usize| {
        let options = NodesOptions::new(addresses[..count].to_vec());
        queue_nodes(options, &lifecycle)
    };
    let ways: [(&str, Arc<dyn QueueApi>); 3] = [
        ("fixed", Arc::new(fixed)),
        ("one node", nodes(1)),
        ("three nodes", nodes(3)),
    ];
    println!("in flight  batch         way  messages/s  of fixed");
    for (in_flight, batch) in [(1, 1), (64, 1), (1024, 1), (16, 100)] {
        let mut rates = [0.0; 3];
        for _ in 0..ROUNDS {
            for ((_, queue), rate) in ways.iter().zip(&mut rates) {
                *rate += measure(queue, in_flight, batch, &lifecycle).await;
            }
        }
        for ((way, _), rate) in ways.iter().zip(rates) {
            let rounds = u32::try_from(ROUNDS).map_or(1.0, f64::from);
            let (mean, ratio) = (rate / rounds, rate / rates[0]);
            println!("{in_flight:9} {batch:6} {way:>11} {mean:11.0} {ratio:9.2}");
        }
    }
    lifecycle.shutdown(Duration::from_secs(1)).await;
}
