//! Waiting for feedback batches, their readiness and their settlement.

use std::time::Duration;

use downlink_domain::message::feedback::FeedbackStatus;
use downlink_domain::message::{NewMessage, Verdict};
use downlink_ports::{Clock, PeerError, QueueApi, SettleError};
use downlink_testkit::{a_hub, a_message_to};

use super::support::{Bench, DEVICE, settle_down, watched};
use crate::QueueOptions;

const LONG: Duration = Duration::from_mins(5);

fn roomy() -> QueueOptions {
    QueueOptions {
        max_depth: 1_000,
        ..QueueOptions::default()
    }
}

async fn complete(bench: &Bench, count: usize) {
    let device = bench.register(DEVICE).await;
    let messages: Vec<NewMessage> = (0..count).map(|_| watched("open")).collect();
    bench.service.enqueue(messages).await.unwrap();
    let held = bench.receive(device, 1_000).await;
    assert_eq!(held.len(), count);
    for held in &held {
        bench.settle(held, Verdict::Complete).await.unwrap();
    }
}

#[tokio::test]
async fn sixty_four_records_are_a_batch_at_once() {
    let bench = Bench::start_with(roomy());
    let before = bench.clock.now();
    let waiting = bench.service.receive_feedback(a_hub(), LONG);
    tokio::pin!(waiting);
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    complete(&bench, 70).await;
    let batch = waiting.await.unwrap().unwrap();
    assert_eq!(batch.records.len(), 64);
    assert_eq!(bench.clock.now(), before);
}

#[tokio::test]
async fn fewer_records_are_a_batch_after_fifteen_seconds() {
    let bench = Bench::start_with(roomy());
    complete(&bench, 3).await;
    let before = bench.clock.now();
    let receive = bench.service.receive_feedback(a_hub(), LONG);
    let batch = bench.while_time_passes(receive).await.unwrap().unwrap();
    assert_eq!(batch.records.len(), 3);
    let elapsed = bench.clock.now().since(before);
    assert!(elapsed >= Duration::from_secs(15), "{elapsed:?}");
    assert!(elapsed <= Duration::from_secs(17), "{elapsed:?}");
}

#[tokio::test]
async fn a_wait_ends_with_nothing_when_no_batch_becomes_ready() {
    let bench = Bench::start();
    let before = bench.clock.now();
    let wait = Duration::from_secs(10);
    let receive = bench.service.receive_feedback(a_hub(), wait);
    let received = bench.while_time_passes(receive).await;
    assert_eq!(received, Ok(None));
    let elapsed = bench.clock.now().since(before);
    assert!(elapsed >= wait && elapsed < wait * 2, "{elapsed:?}");
    let at_once = bench.service.receive_feedback(a_hub(), Duration::ZERO);
    assert_eq!(at_once.await, Ok(None));
}

#[tokio::test]
async fn a_batch_that_is_given_back_is_offered_to_the_next_receiver() {
    let bench = Bench::start_with(roomy());
    complete(&bench, 64).await;
    let receive = || bench.service.receive_feedback(a_hub(), LONG);
    let first = receive().await.unwrap().unwrap();
    assert_eq!(first.delivery_count, 0);
    let waiting = receive();
    tokio::pin!(waiting);
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    let settle = |token, verdict| bench.service.settle_feedback(a_hub(), token, verdict);
    assert_eq!(settle(first.token, Verdict::Abandon).await, Ok(Ok(())));
    let second = waiting.await.unwrap().unwrap();
    assert_eq!(second.records, first.records);
    assert_eq!(second.delivery_count, 1);
    assert_ne!(second.token, first.token);
    let late = settle(first.token, Verdict::Complete).await;
    assert_eq!(late, Ok(Err(SettleError::LockLost)));
    assert_eq!(settle(second.token, Verdict::Complete).await, Ok(Ok(())));
}

#[tokio::test]
async fn an_unsettled_batch_comes_back_when_its_lock_ends_and_is_dropped_in_the_end() {
    let bench = Bench::start_with(roomy());
    complete(&bench, 1).await;
    for delivery in 0..10 {
        let receive = bench.service.receive_feedback(a_hub(), LONG);
        let batch = bench.while_time_passes(receive).await.unwrap().unwrap();
        assert_eq!(batch.delivery_count, delivery);
    }
    let receive = bench.service.receive_feedback(a_hub(), LONG);
    assert_eq!(bench.while_time_passes(receive).await, Ok(None));
    let dropped = "downlink_queue_feedback_records_total{outcome=\"dropped\"}";
    assert_eq!(bench.metric(dropped), 1);
}

#[tokio::test]
async fn feedback_lives_as_long_as_its_ttl() {
    let bench = Bench::start_with(roomy());
    complete(&bench, 64).await;
    bench.clock.advance(Duration::from_hours(1));
    let receive = bench.service.receive_feedback(a_hub(), Duration::ZERO);
    assert_eq!(receive.await, Ok(None));
}

#[tokio::test]
async fn a_batch_goes_to_one_of_several_receivers() {
    let bench = Bench::start_with(roomy());
    // Shorter than the lock of a batch, which would end and free it for the next.
    let wait = Duration::from_secs(30);
    let waiting = (0..3).map(|_| bench.service.receive_feedback(a_hub(), wait));
    let waiting = futures::future::join_all(waiting);
    let (received, ()) = tokio::join!(bench.while_time_passes(waiting), async {
        complete(&bench, 64).await;
    });
    let batches = received
        .into_iter()
        .filter_map(|received| received.unwrap());
    assert_eq!(batches.count(), 1);
}

#[tokio::test]
async fn more_receivers_than_may_wait_are_refused() {
    let mut options = QueueOptions::default();
    options.feedback.max_waiting = 1;
    let bench = Bench::start_with(options);
    let first = bench.service.receive_feedback(a_hub(), LONG);
    tokio::pin!(first);
    assert!(futures::poll!(first.as_mut()).is_pending());
    let second = bench.service.receive_feedback(a_hub(), LONG).await;
    assert_eq!(second, Err(PeerError::Overloaded { service: "queue" }));
}

#[tokio::test]
async fn a_drain_answers_waiting_receivers_with_nothing() {
    let bench = Bench::start();
    let waiting = bench.service.receive_feedback(a_hub(), LONG);
    tokio::pin!(waiting);
    assert!(futures::poll!(waiting.as_mut()).is_pending());
    bench.lifecycle.shutdown(Duration::from_secs(5)).await;
    assert_eq!(waiting.await, Ok(None));
}

#[tokio::test]
async fn outcomes_that_nobody_asked_for_are_not_reported() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    bench.send(a_message_to(DEVICE, "open")).await;
    let held = bench.receive_one(device).await;
    bench.settle(&held, Verdict::Complete).await.unwrap();
    settle_down().await;
    bench.clock.advance(Duration::from_mins(1));
    let receive = bench.service.receive_feedback(a_hub(), Duration::ZERO);
    assert_eq!(receive.await, Ok(None));
    bench.send(watched("close")).await;
    let held = bench.receive_one(device).await;
    bench.settle(&held, Verdict::Complete).await.unwrap();
    let reports = bench.next_feedback().await;
    assert_eq!(reports.len(), 1);
    assert_eq!(reports[0].1, FeedbackStatus::Success);
}
