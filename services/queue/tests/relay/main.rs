//! Two nodes relay from one store to a real Kafka that comes and goes.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use downlink_domain::event::Event;
use downlink_domain::id::DeviceKey;
use downlink_events_kafka::{KafkaOptions, KafkaSink};
use downlink_ports::{EventOutbox, EventRelay, Gateways, QueueApi};
use downlink_presence_memory::MemoryPresence;
use downlink_queue::{QueueDeps, QueueOptions, QueueService, RelayDeps, RelayOptions};
use downlink_rpc::GatewayPool;
use downlink_runtime::telemetry::Metrics;
use downlink_runtime::{Lifecycle, RandomIds, Shutdown, SystemClock};
use downlink_stack::Kafka;
use downlink_store_embedded::{Store, StoreOptions};
use downlink_testkit::{an_event, noon};
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::reader::{first_occurrences, read};

#[path = "../../../../crates/events-kafka/tests/kafka/reader.rs"]
mod reader;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
const DEVICES: u32 = 40;

/// One node: a queue service with a relay of its own.
struct Node {
    service: QueueService,
    lifecycle: Lifecycle,
    metrics: Metrics,
}

impl Node {
    fn start(store: &Arc<Store>, broker: &str) -> Self {
        let lifecycle = Lifecycle::new();
        let metrics = Metrics::new("downlink-queue").unwrap();
        let meter = metrics.meter("queue");
        let options = KafkaOptions {
            brokers: vec![broker.to_owned()],
            partitions: 4,
            ..KafkaOptions::default()
        };
        let sink = KafkaSink::open(options, &meter, &lifecycle.child("kafka")).unwrap();
        let gateways: Arc<dyn Gateways> = Arc::new(GatewayPool::new());
        let deps = QueueDeps {
            messages: store.clone(),
            feedback: store.clone(),
            outbox: store.clone(),
            relay: Some(RelayDeps {
                source: store.clone(),
                sink,
            }),
            presence: Arc::new(MemoryPresence::new(noon())),
            gateways,
            clock: Arc::new(SystemClock),
            ids: Arc::new(RandomIds),
            meter,
        };
        let options = QueueOptions {
            relay: RelayOptions {
                batch: 200,
                // Short, so that batches are cut and sent again.
                publish_timeout: Duration::from_secs(2),
                max_pause: Duration::from_secs(2),
                backlog_interval: Duration::from_secs(1),
                ..RelayOptions::default()
            },
            ..QueueOptions::default()
        };
        let service = QueueService::start(options, deps, &lifecycle.child("queue"));
        Self {
            service,
            lifecycle,
            metrics,
        }
    }

    async fn stop(self) {
        let ended = self.lifecycle.shutdown(Duration::from_secs(30)).await;
        assert_eq!(ended, Shutdown::Drained);
    }

    fn metric(&self, series: &str) -> u64 {
        let text = String::from_utf8(self.metrics.render().unwrap()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        let value = line.unwrap_or_else(|| panic!("{series} is not in\n{text}"));
        value.trim().parse().unwrap()
    }
}

fn event_of(device: u32, number: u32) -> Event {
    let mut event = an_event(&format!("dev-{device}"), 0);
    event.device_key = DeviceKey(device.into());
    event.id[..4].copy_from_slice(&device.to_be_bytes());
    event.id[4..8].copy_from_slice(&number.to_be_bytes());
    event.at = downlink_ports::Clock::now(&SystemClock);
    event.body = Bytes::from(number.to_string());
    event
}

/// Writes events of every device through the node until told to stop; how many each has.
async fn write(service: QueueService, first: u32, stop: CancellationToken) -> u32 {
    let mut number = 0;
    while !stop.is_cancelled() {
        let devices = (first..DEVICES).step_by(2);
        let events = devices.map(|device| event_of(device, number)).collect();
        service.record_events(events).await.unwrap();
        number += 1;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    number
}

/// Stops and kills the broker, and starts it again each time.
fn trouble(kafka: &Kafka) {
    let pause = || std::thread::sleep(Duration::from_secs(2));
    pause();
    kafka.stop();
    // Away for long enough that trials fail.
    std::thread::sleep(Duration::from_secs(10));
    kafka.start_again();
    pause();
    kafka.kill();
    kafka.start_again();
    pause();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_out_of_order_while_kafka_comes_and_goes() {
    let kafka = Arc::new(spawn_blocking(Kafka::start).await.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let ground = Lifecycle::new();
    let path = folder.path().join("hub.db");
    let store = Store::open(&path, StoreOptions::default(), &ground)
        .await
        .unwrap();
    let nodes = [(); 2].map(|()| Node::start(&store, &kafka.bootstrap()));

    let stop = CancellationToken::new();
    let mut writers = JoinSet::new();
    for (node, first) in nodes.iter().zip(0..) {
        let write = write(node.service.clone(), first, stop.clone());
        writers.spawn(async move { (first, write.await) });
    }
    let server = Arc::clone(&kafka);
    spawn_blocking(move || trouble(&server)).await.unwrap();
    stop.cancel();
    let written: HashMap<u32, u32> = writers.join_all().await.into_iter().collect();

    let started = Instant::now();
    while !store.read_after(0, 1).await.unwrap().is_empty() {
        assert!(started.elapsed() < PATIENCE, "the outbox is not emptied");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let broker = kafka.bootstrap();
    let records = read(broker, "downlink.telemetry".to_owned()).await;
    assert!(
        records
            .iter()
            .all(|record| record.millis > noon().as_millis())
    );
    let devices = first_occurrences(&records);
    assert_eq!(devices.len(), DEVICES as usize);
    let mut all: u64 = 0;
    for device in 0..DEVICES {
        let expected = (0..written[&(device % 2)]).map(|number| number.to_string());
        let bodies = &devices[&format!("dev-{device}")];
        assert!(
            expected.eq(bodies.iter().cloned()),
            "dev-{device}: {bodies:?}"
        );
        all += bodies.len() as u64;
    }
    let published = "downlink_queue_relay_events_total{kind=\"telemetry\"}";
    let each = nodes.each_ref().map(|node| node.metric(published));
    assert!(each.iter().all(|count| *count > 0), "{each:?}");
    assert!(each.iter().sum::<u64>() >= all);
    let failures = nodes
        .each_ref()
        .map(|node| node.metric("downlink_queue_relay_failures_total"));
    assert!(failures.iter().sum::<u64>() > 0, "no batch was cut");
    for node in nodes {
        node.stop().await;
    }
    assert_eq!(store.backlog().await.unwrap().events, 0);
    store.close().await;
}
