//! The relay between an outbox in memory and a log that is a list.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::event::Event;
use downlink_domain::id::DeviceKey;
use downlink_domain::message::Verdict;
use downlink_ports::{
    Backlog, ClaimedEvents, EventOutbox, EventRelay, EventSink, QueueApi, StoreError,
};
use downlink_runtime::Shutdown;
use downlink_testkit::an_event;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{RelayDeps, RelayOptions};
use crate::QueueOptions;
use crate::tests::support::{Bench, DEVICE, watched};

/// A log in memory that takes nothing while it is away, and that can be made to never answer.
#[derive(Default)]
struct Log {
    state: Mutex<LogState>,
    grown: Notify,
    asked: Notify,
}

#[derive(Default)]
struct LogState {
    events: Vec<Event>,
    largest_call: usize,
    calls: usize,
    mode: Mode,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    There,
    /// Takes this many events of each call.
    Partly(usize),
    /// Does not answer before the deadline.
    Silent,
}

impl Log {
    fn set(&self, mode: Mode) {
        self.state.lock().mode = mode;
    }

    /// Waits until the log has `count` events; gives them.
    async fn events(&self, count: usize) -> Vec<Event> {
        loop {
            let grown = self.grown.notified();
            tokio::pin!(grown);
            grown.as_mut().enable();
            if self.state.lock().events.len() >= count {
                return self.state.lock().events.clone();
            }
            grown.await;
        }
    }
}

#[async_trait]
impl EventSink for Log {
    async fn publish(&self, events: &[Event], within: Duration) -> usize {
        let taken = {
            let mut state = self.state.lock();
            state.largest_call = state.largest_call.max(events.len());
            state.calls += 1;
            let taken = match state.mode {
                Mode::There => events.len(),
                Mode::Partly(most) => most.min(events.len()),
                Mode::Silent => 0,
            };
            state.events.extend_from_slice(&events[..taken]);
            taken
        };
        self.grown.notify_waiters();
        self.asked.notify_one();
        if self.state.lock().mode == Mode::Silent {
            tokio::time::sleep(within).await;
        }
        taken
    }
}

/// An outbox that has no room for one claim, as when other workers hold all that it allows.
struct Crowded {
    outbox: Arc<dyn EventRelay>,
    is_crowded: AtomicBool,
}

#[async_trait]
impl EventRelay for Crowded {
    async fn claim(
        &self,
        limit: u32,
        hold: Duration,
    ) -> Result<Option<Box<dyn ClaimedEvents>>, StoreError> {
        if self.is_crowded.swap(false, Ordering::Relaxed) {
            return Err(StoreError::Overloaded);
        }
        self.outbox.claim(limit, hold).await
    }

    async fn backlog(&self) -> Result<Backlog, StoreError> {
        self.outbox.backlog().await
    }
}

fn bench(log: &Arc<Log>) -> Bench {
    bench_with(log, RelayOptions::default())
}

fn bench_with(log: &Arc<Log>, relay: RelayOptions) -> Bench {
    let options = QueueOptions {
        relay,
        ..QueueOptions::default()
    };
    let sink = Arc::clone(log);
    Bench::start_with_store(options, |store, deps| {
        deps.relay = Some(RelayDeps {
            source: store.clone(),
            sink,
        });
    })
}

fn event_of(device: i64, number: u8) -> Event {
    let mut event = an_event(&format!("dev-{device}"), number);
    event.device_key = DeviceKey(device);
    event.id[..8].copy_from_slice(&device.to_be_bytes());
    event
}

#[tokio::test(start_paused = true)]
async fn recorded_events_reach_the_log_and_leave_the_outbox() {
    let log = Arc::new(Log::default());
    let bench = bench(&log);
    let events: Vec<_> = (0..3).map(|number| event_of(1, number)).collect();
    bench.service.record_events(events.clone()).await.unwrap();
    assert_eq!(log.events(3).await, events);
    bench.outbox_is_empty().await;
    let published = "downlink_queue_relay_events_total{kind=\"telemetry\"}";
    assert_eq!(bench.metric(published), 3);
}

#[tokio::test(start_paused = true)]
async fn the_feedback_of_a_settled_message_is_published() {
    let log = Arc::new(Log::default());
    let bench = bench(&log);
    let device = bench.register(DEVICE).await;
    bench.send(watched("open")).await;
    let held = bench.receive_one(device).await;
    bench.settle(&held, Verdict::Complete).await.unwrap();
    // The device's creation with its audit, and the feedback.
    let kinds = log
        .events(3)
        .await
        .into_iter()
        .map(|event| event.kind.as_str());
    assert_eq!(
        kinds.collect::<Vec<_>>(),
        ["device-lifecycle", "audit", "feedback"]
    );
}

#[tokio::test(start_paused = true)]
async fn events_of_other_nodes_are_found_at_the_next_look() {
    let log = Arc::new(Log::default());
    let bench = bench(&log);
    tokio::task::yield_now().await;
    bench.store.append(vec![event_of(1, 1)]).await.unwrap();
    assert_eq!(log.events(1).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_log_did_not_take_is_sent_again_in_order() {
    let log = Arc::new(Log::default());
    log.set(Mode::Partly(2));
    let bench = bench(&log);
    let events: Vec<_> = (0..9).map(|number| event_of(1, number)).collect();
    bench.service.record_events(events.clone()).await.unwrap();
    assert_eq!(log.events(9).await, events);
    bench.outbox_is_empty().await;
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_away_is_tried_with_single_events_ever_more_rarely() {
    let log = Arc::new(Log::default());
    log.set(Mode::Partly(0));
    let bench = bench(&log);
    let events: Vec<_> = (0..100).map(|at| event_of(at, 0)).collect();
    bench.service.record_events(events).await.unwrap();
    // The batches that were under way when the first failure was found.
    for _ in 0..4 {
        log.asked.notified().await;
    }
    log.state.lock().largest_call = 0;
    let calls = log.state.lock().calls;
    tokio::time::sleep(Duration::from_mins(10)).await;
    let tries = log.state.lock().calls - calls;
    assert_eq!(log.state.lock().largest_call, 1);
    assert!((40..120).contains(&tries), "{tries} tries in ten minutes");
    log.set(Mode::There);
    assert_eq!(log.events(100).await.len(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_the_outbox_has_no_room_for_is_no_failure_of_the_log() {
    let log = Arc::new(Log::default());
    let options = QueueOptions {
        relay: RelayOptions {
            workers: 1,
            ..RelayOptions::default()
        },
        ..QueueOptions::default()
    };
    let sink = Arc::clone(&log);
    let bench = Bench::start_with_store(options, |store, deps| {
        let source = Arc::new(Crowded {
            outbox: store.clone(),
            is_crowded: AtomicBool::new(true),
        });
        deps.relay = Some(RelayDeps { source, sink });
    });
    let events: Vec<_> = (0..50).map(|number| event_of(1, number)).collect();
    bench.service.record_events(events.clone()).await.unwrap();
    assert_eq!(log.events(50).await, events);
    assert_eq!(log.state.lock().calls, 1, "one batch, and no try before it");
}

#[tokio::test(start_paused = true)]
async fn two_relays_share_one_outbox_and_keep_each_devices_order() {
    let log = Arc::new(Log::default());
    let small = RelayOptions {
        batch: 3,
        ..RelayOptions::default()
    };
    let bench = bench_with(&log, small.clone());
    let sink = Arc::clone(&log);
    let source = bench.store.clone();
    let second = Bench::start_changed(
        QueueOptions {
            relay: small,
            ..QueueOptions::default()
        },
        |deps| deps.relay = Some(RelayDeps { source, sink }),
    );
    let all = (0..10).flat_map(|number| (0..30).map(move |device| event_of(device, number)));
    bench.service.record_events(all.collect()).await.unwrap();
    let events = log.events(300).await;
    let mut last: HashMap<DeviceKey, u8> = HashMap::new();
    for event in events {
        let number = event.id[15];
        let before = last.insert(event.device_key, number);
        assert_eq!(before.map_or(0, |before| before + 1), number);
    }
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_two_seconds_for_the_log_and_leaves_no_claim_open() {
    let log = Arc::new(Log::default());
    log.set(Mode::Silent);
    let bench = bench(&log);
    bench
        .service
        .record_events(vec![event_of(1, 1)])
        .await
        .unwrap();
    log.asked.notified().await;
    let started = tokio::time::Instant::now();
    let ended = bench.lifecycle.shutdown(Duration::from_secs(5)).await;
    assert_eq!(ended, Shutdown::Drained);
    assert!(started.elapsed() < Duration::from_secs(3));
    let again = bench.store.claim(10, Duration::from_mins(1)).await.unwrap();
    assert_eq!(again.expect("the event is kept").events().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_backlog_is_shown() {
    let log = Arc::new(Log::default());
    log.set(Mode::Partly(0));
    let bench = bench(&log);
    bench
        .service
        .record_events(vec![event_of(1, 1), event_of(2, 1)])
        .await
        .unwrap();
    bench.clock.advance(Duration::from_secs(90));
    tokio::time::sleep(Duration::from_secs(16)).await;
    assert_eq!(bench.metric("downlink_queue_relay_backlog_events"), 2);
    assert_eq!(bench.metric("downlink_queue_relay_backlog_age_seconds"), 90);
}
