//! Prints how many events a second go to Kafka, as relays hand them over.
//!
//! `cargo run --release --example publish -p downlink-events-kafka [broker]`: events of 200 bytes
//! in batches of several sizes, four publishers at a time. Without a broker's address a node is
//! started on this machine.
#![expect(
    clippy::print_stdout,
    reason = "what it finds is for whoever started it"
)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use downlink_domain::Timestamp;
use downlink_domain::event::{Event, EventKind};
use downlink_domain::id::DeviceKey;
use downlink_events_kafka::{KafkaOptions, KafkaSink};
use downlink_ports::EventSink;
use downlink_runtime::Lifecycle;
use downlink_runtime::telemetry::Metrics;
use downlink_stack::Kafka;
use tokio::task::JoinSet;

/// How long each batch size is measured.
const ROUND: Duration = Duration::from_secs(4);
const PUBLISHERS: u32 = 4;
const BODY_BYTES: usize = 200;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let started: Option<Kafka>;
    let broker = if let Some(address) = std::env::args().nth(1) {
        address
    } else {
        started = Some(Kafka::try_start()?);
        started.as_ref().map(Kafka::bootstrap).unwrap_or_default()
    };
    let options = KafkaOptions {
        brokers: vec![broker],
        topic_prefix: "measured".to_owned(),
        ..KafkaOptions::default()
    };
    let metrics = Metrics::new("publish")?;
    let lifecycle = Lifecycle::new();
    let sink = KafkaSink::open(options, &metrics.meter("publish"), &lifecycle)?;
    sink.publish(&batch(0, 1), Duration::from_secs(30)).await;
    for size in [100, 500, 1_000, 5_000] {
        let rate = measure(&sink, size).await;
        println!("{PUBLISHERS} publishers, batches of {size:>5}: {rate:>8.0} events/s");
    }
    lifecycle.shutdown(Duration::from_secs(5)).await;
    Ok(())
}

async fn measure(sink: &Arc<KafkaSink>, size: u32) -> f64 {
    let begun = Instant::now();
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let sink = Arc::clone(sink);
        publishers.spawn(async move {
            let events = batch(publisher, size);
            let mut published = 0;
            while begun.elapsed() < ROUND {
                published += sink.publish(&events, Duration::from_secs(10)).await;
            }
            published
        });
    }
    let published: usize = publishers.join_all().await.into_iter().sum();
    let published = u32::try_from(published).unwrap_or(u32::MAX);
    f64::from(published) / begun.elapsed().as_secs_f64()
}

/// Events of a hundred devices, with the properties that a twin change has.
fn batch(publisher: u32, size: u32) -> Vec<Event> {
    let hub: downlink_domain::id::HubName = "hub.example".parse().expect("a valid name");
    let properties = [
        ("content-type", "application/json"),
        ("iothub-message-source", "twinChangeEvents"),
        ("opType", "updateTwin"),
        ("operationTimestamp", "2026-01-05T09:12:31.4120000Z"),
    ];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let events = (0..size).map(|number| {
        let device = format!("device-{publisher}-{}", number % 100);
        Event {
            id: (u128::from(publisher) << 64 | u128::from(number)).to_be_bytes(),
            hub: hub.clone(),
            device_key: DeviceKey(i64::from(publisher * 100 + number % 100)),
            device: Some(device.parse().expect("a valid id")),
            module: None,
            kind: EventKind::TwinChange,
            at: Timestamp::from_millis(1_767_604_351_412),
            properties: properties.to_vec(),
            body: Bytes::from(vec![b'x'; BODY_BYTES]),
        }
    });
    events.collect()
}
