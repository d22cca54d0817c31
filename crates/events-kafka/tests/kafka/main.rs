//! The sink against a real Kafka, read by `kcat`.
#![expect(clippy::unwrap_used, reason = "a panic is how a test says no")]

use std::collections::VecDeque;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use downlink_domain::event::{Event, EventKind};
use downlink_domain::id::DeviceKey;
use downlink_events_kafka::{KafkaOptions, KafkaSink};
use downlink_ports::EventSink;
use downlink_ports::events::{AuditOperation, AuditRecord, audit_event};
use downlink_runtime::telemetry::Metrics;
use downlink_runtime::{Lifecycle, Shutdown};
use downlink_stack::{Kafka, Signal};
use downlink_testkit::{a_hub, an_event, noon, somebody};
use parking_lot::Mutex;
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::reader::{first_occurrences, read};

mod reader;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

static PREFIXES: AtomicUsize = AtomicUsize::new(0);

/// A prefix that no other test uses.
fn a_prefix() -> String {
    let number = PREFIXES.fetch_add(1, Ordering::Relaxed);
    format!("test-{}-{number}", std::process::id())
}

/// A sink, and what it stands on.
struct Bench {
    sink: Arc<KafkaSink>,
    broker: String,
    prefix: String,
    metrics: Metrics,
    lifecycle: Lifecycle,
}

impl Bench {
    fn open(broker: String) -> Self {
        Self::open_with(KafkaOptions {
            brokers: vec![broker],
            topic_prefix: a_prefix(),
            partitions: 3,
            ..KafkaOptions::default()
        })
    }

    fn open_with(options: KafkaOptions) -> Self {
        let (broker, prefix) = (options.brokers[0].clone(), options.topic_prefix.clone());
        let metrics = Metrics::new("events-kafka").unwrap();
        let lifecycle = Lifecycle::new();
        let sink = KafkaSink::open(options, &metrics.meter("kafka"), &lifecycle).unwrap();
        Self {
            sink,
            broker,
            prefix,
            metrics,
            lifecycle,
        }
    }

    async fn read(&self, kind: EventKind) -> Vec<reader::Record> {
        let topic = format!("{}.{}", self.prefix, kind.as_str());
        read(self.broker.clone(), topic).await
    }

    fn metric(&self, series: &str) -> u64 {
        let text = String::from_utf8(self.metrics.render().unwrap()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        let value = line.unwrap_or_else(|| panic!("{series} is not in\n{text}"));
        value.trim().parse().unwrap()
    }

    async fn close(self) {
        let ended = self.lifecycle.shutdown(Duration::from_secs(30)).await;
        assert_eq!(ended, Shutdown::Drained);
    }
}

async fn shared() -> String {
    spawn_blocking(|| Kafka::shared().bootstrap())
        .await
        .unwrap()
}

/// The event `number` of a device; its body is the number.
fn event_of(device: u32, number: u32) -> Event {
    let mut event = an_event(&format!("dev-{device}"), 0);
    event.device_key = DeviceKey(device.into());
    event.id[..4].copy_from_slice(&device.to_be_bytes());
    event.id[4..8].copy_from_slice(&number.to_be_bytes());
    event.body = Bytes::from(number.to_string());
    event
}

#[tokio::test]
async fn an_independent_consumer_reads_key_headers_time_and_body() {
    let bench = Bench::open(shared().await);
    let traced = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let events = EventKind::ALL.into_iter().zip(1..).map(|(kind, number)| {
        let mut event = event_of(7, number);
        event.kind = kind;
        event.module = (number == 2).then(|| "mod".parse().unwrap());
        event.properties = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("traceparent".to_owned(), traced.to_owned()),
            ("type".to_owned(), "of its own".to_owned()),
        ];
        event
    });
    let events: Vec<_> = events.collect();
    assert_eq!(bench.sink.publish(&events, PATIENCE).await, 6);
    for (event, number) in events.iter().zip(1..) {
        let records = bench.read(event.kind).await;
        assert_eq!(records.len(), 1);
        let record = &records[0];
        assert_eq!(record.key, if number == 2 { "dev-7/mod" } else { "dev-7" });
        assert_eq!(record.body, number.to_string());
        assert_eq!(record.millis, noon().as_millis());
        let id = format!("00000007-0000-000{number}-0000-000000000000");
        let expected = [
            ("id", id.as_str()),
            ("type", event.kind.as_str()),
            ("hub", "hub.downlink.test"),
            ("content-type", "application/json"),
            ("traceparent", traced),
            ("property.type", "of its own"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(record.headers, expected);
    }
    assert_eq!(bench.metric("downlink_kafka_reachable"), 1);
    bench.sink.ping().await.unwrap();
    bench.close().await;
}

#[tokio::test]
async fn audit_records_of_the_hub_arrive_under_its_name() {
    let bench = Bench::open(shared().await);
    let hub = a_hub();
    let record = AuditRecord::of_access(
        AuditOperation::UpdatePolicy,
        &hub,
        "service",
        7,
        &somebody(),
        noon(),
    );
    let event = audit_event(&record);
    let published = bench.sink.publish(std::slice::from_ref(&event), PATIENCE);
    assert_eq!(published.await, 1);
    let records = bench.read(EventKind::Audit).await;
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].key, hub.as_str());
    assert_eq!(records[0].body.as_bytes(), &event.body[..]);
    let body: serde_json::Value = serde_json::from_str(&records[0].body).unwrap();
    assert_eq!(body["operationName"], "updatePolicy");
    assert_eq!(body["who"], somebody().credential);
    let op_type = ("opType".to_owned(), "updatePolicy".to_owned());
    assert!(records[0].headers.contains(&op_type));
    bench.close().await;
}

#[tokio::test]
async fn thousands_of_events_of_many_devices_keep_the_order_of_each() {
    let bench = Bench::open(shared().await);
    let mut publishers = JoinSet::new();
    for publisher in 0..4 {
        let sink = Arc::clone(&bench.sink);
        publishers.spawn(async move {
            let rounds = (0..500).flat_map(|number| (0..10).map(move |at| (at, number)));
            let events = rounds.map(|(at, number)| event_of(publisher * 10 + at, number));
            let events: Vec<_> = events.collect();
            sink.publish(&events, PATIENCE).await
        });
    }
    assert_eq!(publishers.join_all().await, [5_000; 4]);
    let records = bench.read(EventKind::Telemetry).await;
    assert_eq!(records.len(), 20_000);
    let expected: Vec<_> = (0..500).map(|number: u32| number.to_string()).collect();
    let devices = first_occurrences(&records);
    assert_eq!(devices.len(), 40);
    assert!(devices.values().all(|bodies| *bodies == expected));
    bench.close().await;
}

#[tokio::test]
async fn a_full_queue_waits_for_room() {
    let bench = Bench::open_with(KafkaOptions {
        brokers: vec![shared().await],
        topic_prefix: a_prefix(),
        partitions: 1,
        max_queued_events: 10,
        ..KafkaOptions::default()
    });
    let events: Vec<_> = (0..1_000).map(|number| event_of(1, number)).collect();
    assert_eq!(bench.sink.publish(&events, PATIENCE).await, 1_000);
    assert_eq!(bench.read(EventKind::Telemetry).await.len(), 1_000);
    bench.close().await;
}

#[tokio::test]
async fn an_event_beyond_the_largest_record_holds_up_what_follows_it() {
    let bench = Bench::open_with(KafkaOptions {
        brokers: vec![shared().await],
        topic_prefix: a_prefix(),
        max_record_bytes: 10_000,
        ..KafkaOptions::default()
    });
    let mut events: Vec<_> = (0..5).map(|number| event_of(1, number)).collect();
    events[3].body = Bytes::from(vec![b'x'; 20_000]);
    assert_eq!(bench.sink.publish(&events, PATIENCE).await, 3);
    assert_eq!(bench.sink.publish(&events[3..], PATIENCE).await, 0);
    assert_eq!(bench.read(EventKind::Telemetry).await.len(), 3);
    assert_eq!(bench.metric("downlink_kafka_events_oversized_total"), 2);
    bench.close().await;
}

/// Keeps what is logged on this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_topic_that_is_missing_is_named_once_and_found_when_it_is_made() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::WARN)
        .with_writer(move || writer.clone())
        .finish();
    let _logged = tracing::subscriber::set_default(subscriber);
    let options = KafkaOptions {
        brokers: vec![shared().await],
        topic_prefix: a_prefix(),
        create_topics: false,
        ..KafkaOptions::default()
    };
    let bench = Bench::open_with(options.clone());
    let events = [event_of(1, 0)];
    for _ in 0..3 {
        let within = Duration::from_secs(3);
        assert_eq!(bench.sink.publish(&events, within).await, 0);
    }
    let text = String::from_utf8(lines.0.lock().clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let topic = format!("{}.telemetry", bench.prefix);
    for part in [topic.as_str(), "create them, or set create_topics"] {
        assert!(text.contains(part), "{text}");
    }

    let maker = Bench::open_with(KafkaOptions {
        create_topics: true,
        ..options
    });
    assert_eq!(maker.sink.publish(&[event_of(2, 0)], PATIENCE).await, 1);
    let started = Instant::now();
    while bench.sink.publish(&events, PATIENCE).await == 0 {
        assert!(started.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(bench.read(EventKind::Telemetry).await.len(), 2);
    maker.close().await;
    bench.close().await;
}

#[tokio::test]
async fn a_topic_that_is_there_is_left_as_it_is() {
    let options = KafkaOptions {
        brokers: vec![shared().await],
        topic_prefix: a_prefix(),
        partitions: 2,
        ..KafkaOptions::default()
    };
    let first = Bench::open_with(options.clone());
    assert_eq!(first.sink.publish(&[event_of(1, 0)], PATIENCE).await, 1);
    first.close().await;
    let second = Bench::open_with(KafkaOptions {
        partitions: 9,
        ..options
    });
    let events: Vec<_> = (1..200).map(|device| event_of(device, 1)).collect();
    assert_eq!(second.sink.publish(&events, PATIENCE).await, 199);
    let records = second.read(EventKind::Telemetry).await;
    let last = records.iter().map(|record| record.partition).max();
    assert_eq!(last, Some(1));
    second.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kafka_that_is_away_at_the_start_delays_and_nothing_else() {
    let kafka = Arc::new(spawn_blocking(Kafka::start).await.unwrap());
    let stopped = Arc::clone(&kafka);
    spawn_blocking(move || stopped.stop()).await.unwrap();
    let bench = Bench::open(kafka.bootstrap());
    let events = [event_of(1, 0), event_of(1, 1)];
    let asked = Instant::now();
    let within = Duration::from_secs(1);
    assert_eq!(bench.sink.publish(&events, within).await, 0);
    assert!(asked.elapsed() < Duration::from_secs(5));
    bench.sink.ping().await.unwrap_err();
    assert_eq!(bench.metric("downlink_kafka_reachable"), 0);
    let started = Arc::clone(&kafka);
    spawn_blocking(move || started.start_again()).await.unwrap();
    assert_eq!(bench.sink.publish(&events, PATIENCE).await, 2);
    assert_eq!(bench.read(EventKind::Telemetry).await.len(), 2);
    bench.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_broker_makes_no_gap_in_a_series_that_is_longer_than_the_queue() {
    let kafka = spawn_blocking(Kafka::start).await.unwrap();
    let bench = Bench::open_with(KafkaOptions {
        brokers: vec![kafka.bootstrap()],
        topic_prefix: a_prefix(),
        partitions: 1,
        max_queued_events: 10,
        ..KafkaOptions::default()
    });
    let events: Vec<_> = (0..300).map(|number| event_of(1, number)).collect();
    let mut sent = bench.sink.publish(&events[..1], PATIENCE).await;
    assert_eq!(sent, 1);
    kafka.process().signal(Signal::Stop).unwrap();
    // Some records are under way, some wait, most find no room; the deadline cuts the series.
    let within = Duration::from_secs(2);
    sent += bench.sink.publish(&events[sent..], within).await;
    assert_eq!(sent, 1);
    kafka.process().signal(Signal::Cont).unwrap();
    while sent < events.len() {
        sent += bench.sink.publish(&events[sent..], PATIENCE).await;
    }
    let records = bench.read(EventKind::Telemetry).await;
    let bodies = &first_occurrences(&records)["dev-1"];
    let expected = (0..300).map(|number: u32| number.to_string());
    assert!(expected.eq(bodies.iter().cloned()), "{bodies:?}");
    bench.close().await;
}

/// What a relay does, with a deadline so short that producers are condemned again and again;
/// makes new events until told to stop. Returns how many each of its five devices has.
async fn publish_on(sink: Arc<KafkaSink>, publisher: u32, stop: CancellationToken) -> u32 {
    let mut next = 0;
    let mut waiting: VecDeque<Event> = VecDeque::new();
    while !stop.is_cancelled() || !waiting.is_empty() {
        while waiting.len() < 50 && !stop.is_cancelled() {
            waiting.extend((0..5).map(|at| event_of(publisher * 5 + at, next)));
            next += 1;
        }
        let within = Duration::from_millis(300);
        let sent = sink.publish(waiting.make_contiguous(), within).await;
        waiting.drain(..sent);
        // A relay has its pauses too.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    next
}

/// Stops, kills and freezes the broker, and starts it again each time.
fn trouble(kafka: &Kafka) {
    let pause = || std::thread::sleep(Duration::from_secs(1));
    pause();
    kafka.stop();
    kafka.start_again();
    for _ in 0..2 {
        pause();
        kafka.kill();
        kafka.start_again();
    }
    for _ in 0..5 {
        pause();
        kafka.process().signal(Signal::Stop).unwrap();
        pause();
        kafka.process().signal(Signal::Cont).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn order_holds_while_the_broker_is_stopped_killed_and_frozen() {
    let kafka = Arc::new(spawn_blocking(Kafka::start).await.unwrap());
    let bench = Bench::open(kafka.bootstrap());
    // Two sinks, as of two processes, that publish the same events: as if all claims had lapsed.
    let other = Bench::open_with(KafkaOptions {
        brokers: vec![bench.broker.clone()],
        topic_prefix: bench.prefix.clone(),
        partitions: 3,
        ..KafkaOptions::default()
    });
    let stop = CancellationToken::new();
    let mut publishers = JoinSet::new();
    for (publisher, sink) in [
        (0, &bench.sink),
        (1, &bench.sink),
        (0, &other.sink),
        (1, &other.sink),
    ] {
        let run = publish_on(Arc::clone(sink), publisher, stop.clone());
        publishers.spawn(async move { (publisher, run.await) });
    }
    let server = Arc::clone(&kafka);
    spawn_blocking(move || trouble(&server)).await.unwrap();
    stop.cancel();
    let all = publishers.join_all();
    let all = tokio::time::timeout(PATIENCE, all)
        .await
        .expect("all is published");
    let records = bench.read(EventKind::Telemetry).await;
    let devices = first_occurrences(&records);
    assert_eq!(devices.len(), 10);
    for (publisher, count) in all {
        for at in 0..5 {
            let device = format!("dev-{}", publisher * 5 + at);
            let bodies = &devices[&device];
            let gap = (0..)
                .zip(bodies)
                .find(|(number, body)| number.to_string() != **body);
            assert_eq!(gap, None, "{device} leaves its order");
            assert!(bodies.len() >= count as usize, "{device} has lost events");
        }
    }
    let replaced = "downlink_kafka_producers_replaced_total{reason=\"deadline\"}";
    assert!(bench.metric(replaced) > 0, "nothing was condemned");
    bench.close().await;
    other.close().await;
}
