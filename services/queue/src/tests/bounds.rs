//! What happens at the edges: a store that fails, a service that drains, an outbox that is full.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::ErrorCode;
use downlink_domain::Timestamp;
use downlink_domain::id::{DeviceId, DeviceKey};
use downlink_domain::message::{NewMessage, QueueRules, Settlement};
use downlink_ports::{
    Clock, EnqueueError, EnqueueRules, Enqueued, EventOutbox, LockedMessage, MessageStore,
    OutboxBounds, PeerError, PurgeOrder, PurgeOutcome, QueueApi, Receive, ReceiveCall, SettleError,
    StoreError, Swept,
};
use downlink_runtime::Shutdown;
use downlink_testkit::{a_hub, a_message, a_message_to, an_event, somebody};

use super::support::{Bench, DEVICE, settle_down, watched};
use crate::QueueOptions;

/// A store whose disk is gone, but for messages to others than one device when it has another.
#[derive(Default)]
struct BrokenStore {
    but: Option<(Arc<dyn MessageStore>, DeviceId)>,
}

fn broken<T>() -> Result<T, StoreError> {
    Err(StoreError::Unavailable(
        "disk full at /secret/path".to_owned(),
    ))
}

#[async_trait]
impl MessageStore for BrokenStore {
    async fn enqueue(
        &self,
        messages: Vec<NewMessage>,
        rules: EnqueueRules,
        now: Timestamp,
    ) -> Result<Vec<Result<Enqueued, EnqueueError>>, StoreError> {
        match &self.but {
            Some((store, device)) if messages.iter().all(|one| one.device != *device) => {
                store.enqueue(messages, rules, now).await
            }
            Some(_) | None => broken(),
        }
    }

    async fn receive(
        &self,
        _requests: Vec<Receive>,
        _rules: QueueRules,
        _now: Timestamp,
    ) -> Result<Vec<Vec<LockedMessage>>, StoreError> {
        broken()
    }

    async fn settle(
        &self,
        _settlements: Vec<Settlement>,
        _rules: QueueRules,
        _now: Timestamp,
    ) -> Result<Vec<Result<(), SettleError>>, StoreError> {
        broken()
    }

    async fn purge(
        &self,
        _order: PurgeOrder,
        _rules: QueueRules,
    ) -> Result<Option<PurgeOutcome>, StoreError> {
        broken()
    }

    async fn count(
        &self,
        _devices: Vec<DeviceKey>,
        _now: Timestamp,
    ) -> Result<Vec<u64>, StoreError> {
        broken()
    }

    async fn sweep(
        &self,
        _limit: u32,
        _rules: QueueRules,
        _now: Timestamp,
    ) -> Result<Swept, StoreError> {
        broken()
    }
}

#[track_caller]
fn assert_told_as_a_code<T: std::fmt::Debug>(answer: Result<T, PeerError>) {
    match answer {
        Err(PeerError::Refused { code, message }) => {
            assert_eq!(code, ErrorCode::ServiceUnavailable);
            assert!(!message.contains("secret"), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_store_that_fails_is_told_as_a_code_without_its_detail() {
    let bench = Bench::start_changed(QueueOptions::default(), |deps| {
        deps.messages = Arc::new(BrokenStore::default());
    });
    let service = &bench.service;
    assert_told_as_a_code(service.enqueue(vec![a_message()]).await);
    let call = ReceiveCall {
        device: DeviceKey(1),
        limit: 1,
        lock_duration: None,
    };
    assert_told_as_a_code(service.receive(vec![call]).await);
    assert_told_as_a_code(service.count(vec![DeviceKey(1)]).await);
    let device = DEVICE.parse().unwrap();
    assert_told_as_a_code(service.purge(a_hub(), device, somebody()).await);
    assert_eq!(bench.metric("downlink_queue_store_failures_total"), 4);
}

#[tokio::test]
async fn a_failure_over_one_device_is_not_told_of_messages_that_are_stored() {
    let bench = Bench::start_changed(QueueOptions::default(), |deps| {
        deps.messages = Arc::new(BrokenStore {
            but: Some((Arc::clone(&deps.messages), DEVICE.parse().unwrap())),
        });
    });
    // So many that not all of them share the lane of the one.
    let names: Vec<String> = (0..32).map(|number| format!("other-{number}")).collect();
    bench.register(DEVICE).await;
    let mut messages = vec![a_message()];
    for name in &names {
        bench.register(name).await;
        messages.push(a_message_to(name, "open"));
    }
    let mut answers = bench.service.enqueue(messages).await.unwrap();
    assert_eq!(answers.remove(0), Err(EnqueueError::Unavailable));
    let accepted = answers.iter().flatten().count() as u64;
    assert!(accepted > 0, "{answers:?}");
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(refused, &EnqueueError::Unavailable);
    }
    let devices = answers.iter().flatten().map(|stored| stored.device);
    let counts = bench
        .store
        .count(devices.collect(), bench.clock.now())
        .await;
    assert_eq!(counts.unwrap().iter().sum::<u64>(), accepted);
    assert_eq!(bench.metric("downlink_queue_store_failures_total"), 1);
}

#[tokio::test]
async fn the_sweeper_outlives_a_store_that_fails() {
    let bench = Bench::start_changed(QueueOptions::default(), |deps| {
        deps.messages = Arc::new(BrokenStore::default());
    });
    for sweeps in 1..=3 {
        settle_down().await;
        bench.service.trigger_sweep();
        settle_down().await;
        assert_eq!(bench.metric("downlink_queue_store_failures_total"), sweeps);
    }
}

#[tokio::test]
async fn a_drained_service_finishes_what_it_took_and_takes_no_more() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    let taken = bench.service.enqueue(vec![a_message()]);
    tokio::pin!(taken);
    assert!(futures::poll!(taken.as_mut()).is_pending());
    let shutdown = bench.lifecycle.shutdown(Duration::from_secs(5)).await;
    assert_eq!(shutdown, Shutdown::Drained);
    assert!(taken.await.unwrap()[0].is_ok());
    let late = bench.service.enqueue(vec![a_message()]).await;
    assert_eq!(late, Err(PeerError::Unavailable { service: "queue" }));
    assert_eq!(bench.count(device).await, 1);
}

#[tokio::test]
async fn events_are_kept_within_the_bounds_of_the_outbox() {
    let bench = Bench::start_with(QueueOptions {
        outbox: OutboxBounds {
            retention: Duration::from_hours(1),
            max_events: 3,
        },
        ..QueueOptions::default()
    });
    let events = (1..=5).map(|number| an_event(DEVICE, number));
    bench.service.record_events(events.collect()).await.unwrap();
    let kept = bench.store.read_after(0, 10).await.unwrap();
    assert_eq!(kept.len(), 5);
    settle_down().await;
    bench.clock.advance(Duration::from_mins(1));
    settle_down().await;
    let kept = bench.store.read_after(0, 10).await.unwrap();
    let ids: Vec<_> = kept.iter().map(|(_, event)| event.id[0]).collect();
    assert_eq!(ids, [3, 4, 5]);
    assert_eq!(
        bench.metric("downlink_queue_events_total{outcome=\"shed\"}"),
        2
    );
}

#[tokio::test]
async fn what_happened_is_counted() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    bench.send(watched("open")).await;
    let held = bench.receive_one(device).await;
    let verdict = downlink_domain::message::Verdict::Complete;
    bench.settle(&held, verdict).await.unwrap();
    assert!(bench.settle(&held, verdict).await.is_err());
    for (series, count) in [
        ("downlink_queue_enqueues_total{outcome=\"accepted\"}", 1),
        ("downlink_queue_deliveries_total{delivery=\"first\"}", 1),
        ("downlink_queue_settlements_total{outcome=\"complete\"}", 1),
        ("downlink_queue_settlements_total{outcome=\"lock_lost\"}", 1),
    ] {
        assert_eq!(bench.metric(series), count, "{series}");
    }
}

#[tokio::test]
async fn a_device_is_told_an_expiry_only_when_the_sender_set_one() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    let soon = bench.clock.now() + Duration::from_mins(5);
    let (mut timed, mut untimed) = (a_message(), a_message());
    timed.expiry = Some(soon);
    untimed.expiry = None;
    let accepted = bench.service.enqueue(vec![timed, untimed]).await.unwrap();
    assert!(accepted.iter().all(Result::is_ok), "{accepted:?}");
    let call = ReceiveCall {
        device,
        limit: 2,
        lock_duration: None,
    };
    let received = bench.service.receive(vec![call]).await.unwrap().remove(0);
    let told: Vec<_> = received
        .iter()
        .map(|locked| locked.message.properties.expiry)
        .collect();
    assert_eq!(told, [Some(soon), None]);
    assert_eq!(received[0].message.expiry, soon);
    assert!(received[1].message.expiry > soon);
}
