//! Prints how many calls a second go through the in-process carrier.
//!
//! `cargo run --release --example mux -p downlink-rpc`
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
use downlink_rpc::{GrpcQueueClient, MuxOptions, Services, in_process};
use downlink_runtime::{Lifecycle, OnError};
use futures::future::join_all;

/// How long each row is measured.
const ROW: Duration = Duration::from_millis(600);

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

/// Calls a second with `in_flight` callers that each enqueue one message at a time.
async fn measure(
    queue: &Arc<GrpcQueueClient>,
    in_flight: u64,
    lifecycle: &Lifecycle,
) -> (f64, f64) {
    let calls = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let callers = (0..in_flight).map(|device| {
        let (queue, calls) = (Arc::clone(queue), Arc::clone(&calls));
        let (done, finished) = tokio::sync::oneshot::channel();
        lifecycle.spawn("caller", OnError::Shutdown, async move {
            let message = message(device);
            while began.elapsed() < ROW {
                queue.enqueue(vec![message.clone()]).await?;
                calls.fetch_add(1, Ordering::Relaxed);
            }
            let _ = done.send(());
            Ok::<(), PeerError>(())
        });
        finished
    });
    let callers: Vec<_> = callers.collect();
    join_all(callers).await;
    let calls = u32::try_from(calls.load(Ordering::Relaxed)).map_or(f64::MAX, f64::from);
    let seconds = began.elapsed().as_secs_f64();
    let callers = u32::try_from(in_flight).map_or(f64::MAX, f64::from);
    (calls / seconds, seconds * 1e6 * callers / calls)
}

#[tokio::main]
async fn main() {
    let lifecycle = Lifecycle::new();
    println!("lanes  in flight   calls/s   µs a call as the caller sees it");
    for lanes in [1, 2] {
        let (endpoint, acceptor) = in_process();
        Services::new(&lifecycle)
            .with_queue(Arc::new(InstantQueue))
            .serve(acceptor);
        let options = MuxOptions {
            lanes,
            ..MuxOptions::default()
        };
        let queue = Arc::new(GrpcQueueClient::new(&endpoint, options, &lifecycle));
        for in_flight in [1, 64, 1024] {
            let (rate, latency) = measure(&queue, in_flight, &lifecycle).await;
            println!("{lanes:5} {in_flight:10} {rate:9.0} {latency:9.1}");
        }
    }
    lifecycle.shutdown(Duration::from_secs(1)).await;
}
