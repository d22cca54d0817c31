//! The feedback queue.

use std::time::Duration;

use downlink_domain::device::IfMatch;
use downlink_domain::event::EventKind;
use downlink_domain::id::HubName;
use downlink_domain::message::feedback::FeedbackBatch;
use downlink_domain::message::{AckMode, NewMessage, QueueRules, Verdict};

use super::Subject;
use super::given::{a_device_spec, a_hub, a_message_to, an_identity, noon, queue_rules, somebody};
use crate::SettleError;
use crate::events::feedback_json;

const LOST: Result<(), SettleError> = Err(SettleError::LockLost);
const INTERVAL: Duration = Duration::from_secs(15);
const MINUTE: Duration = Duration::from_mins(1);

/// Completes a message for each body at noon, which makes a record for each.
async fn report(subject: &Subject, bodies: &[&'static str]) {
    let hub = a_hub();
    report_in(subject, &hub, queue_rules(), bodies).await;
}

async fn report_in(subject: &Subject, hub: &HubName, rules: QueueRules, bodies: &[&'static str]) {
    let name = an_identity("dev-1");
    let found = subject.registry.find(hub.clone(), vec![name.clone()]);
    let found = found.await.expect("a store that works").remove(0);
    let device = match found {
        Some(device) => device,
        None => subject
            .registry
            .create(hub.clone(), name, a_device_spec(), somebody(), noon())
            .await
            .expect("a store that works")
            .expect("a name that is free"),
    };
    for body in bodies {
        let message = NewMessage {
            hub: hub.clone(),
            ack: AckMode::Full,
            ..a_message_to("dev-1", body)
        };
        subject.enqueue(message, noon()).await.expect("room");
        let held = subject.receive(device.key, 1, noon()).await.remove(0);
        let settled = subject.settle_by(rules, &held, Verdict::Complete, noon());
        assert_eq!(settled.await, Ok(()));
    }
}

fn ids(batch: Option<FeedbackBatch>) -> Vec<String> {
    let records = batch.map(|batch| batch.records).unwrap_or_default();
    let ids = records.into_iter().map(|record| record.original_message_id);
    ids.flatten().collect()
}

#[doc(hidden)]
pub async fn a_batch_is_ready_when_it_is_full(subject: Subject) {
    assert_eq!(subject.receive_feedback(noon()).await, None);
    report(&subject, &["a"]).await;
    assert_eq!(subject.receive_feedback(noon()).await, None);
    report(&subject, &["b", "c"]).await;
    let batch = subject.receive_feedback(noon()).await;
    assert_eq!(ids(batch), ["id-of-a", "id-of-b"]);
    assert_eq!(subject.receive_feedback(noon()).await, None);
}

#[doc(hidden)]
pub async fn a_smaller_batch_is_ready_when_its_oldest_record_has_waited(subject: Subject) {
    report(&subject, &["a"]).await;
    let just_before = noon() + INTERVAL - Duration::from_millis(1);
    assert_eq!(subject.receive_feedback(just_before).await, None);
    let batch = subject.receive_feedback(noon() + INTERVAL).await.unwrap();
    assert_eq!(batch.delivery_count, 0);
    assert_eq!(batch.enqueued_at, noon());
    assert_eq!(batch.locked_until, noon() + INTERVAL + MINUTE);
    assert_eq!(ids(Some(batch)), ["id-of-a"]);
}

#[doc(hidden)]
pub async fn a_batch_holds_the_oldest_records_first(subject: Subject) {
    report(&subject, &["a", "b", "c", "d", "e"]).await;
    let later = noon() + INTERVAL;
    let mut seen = Vec::new();
    while let Some(batch) = subject.receive_feedback(later).await {
        assert!(batch.records.len() <= 2);
        seen.extend(ids(Some(batch)));
    }
    assert_eq!(
        seen,
        ["a", "b", "c", "d", "e"].map(|id| format!("id-of-{id}"))
    );
}

#[doc(hidden)]
pub async fn a_held_batch_goes_to_one_receiver(subject: Subject) {
    report(&subject, &["a", "b", "c", "d"]).await;
    let first = subject.receive_feedback(noon()).await;
    let second = subject.receive_feedback(noon()).await;
    assert_eq!(ids(first), ["id-of-a", "id-of-b"]);
    assert_eq!(ids(second), ["id-of-c", "id-of-d"]);
}

#[doc(hidden)]
pub async fn a_lapsed_batch_comes_back_with_a_higher_count(subject: Subject) {
    report(&subject, &["a", "b"]).await;
    let first = subject.receive_feedback(noon()).await.unwrap();
    let just_before = first.locked_until - Duration::from_millis(1);
    assert_eq!(subject.receive_feedback(just_before).await, None);
    let second = subject.receive_feedback(first.locked_until).await.unwrap();
    assert_eq!(second.records, first.records);
    assert_eq!(second.delivery_count, 1);
    assert_ne!(second.token, first.token);
}

#[doc(hidden)]
pub async fn settled_batches_are_gone(subject: Subject) {
    for verdict in [Verdict::Complete, Verdict::Reject] {
        report(&subject, &["a", "b"]).await;
        let batch = subject.receive_feedback(noon()).await.unwrap();
        let settled = subject.settle_feedback(batch.token, verdict, noon()).await;
        assert_eq!(settled, Ok(()));
        assert_eq!(subject.receive_feedback(noon() + MINUTE).await, None);
    }
}

#[doc(hidden)]
pub async fn an_abandoned_batch_comes_back_with_a_higher_count(subject: Subject) {
    report(&subject, &["a", "b"]).await;
    for (count, verdict) in [(0, Verdict::Abandon), (1, Verdict::ReleaseDelivered)] {
        let batch = subject.receive_feedback(noon()).await.unwrap();
        assert_eq!(batch.delivery_count, count);
        let settled = subject.settle_feedback(batch.token, verdict, noon()).await;
        assert_eq!(settled, Ok(()));
    }
    let batch = subject.receive_feedback(noon()).await.unwrap();
    assert_eq!(batch.delivery_count, 2);
}

#[doc(hidden)]
pub async fn an_undelivered_batch_comes_back_as_if_not_received(subject: Subject) {
    report(&subject, &["a", "b"]).await;
    for _ in 0..5 {
        let batch = subject.receive_feedback(noon()).await.unwrap();
        assert_eq!(batch.delivery_count, 0);
        let verdict = Verdict::ReleaseUndelivered;
        let settled = subject.settle_feedback(batch.token, verdict, noon()).await;
        assert_eq!(settled, Ok(()));
    }
}

#[doc(hidden)]
pub async fn a_settlement_needs_the_current_token_and_a_running_hold(subject: Subject) {
    report(&subject, &["a", "b"]).await;
    let first = subject.receive_feedback(noon()).await.unwrap();
    let end = first.locked_until;
    for verdict in [Verdict::Complete, Verdict::Abandon] {
        assert_eq!(
            subject.settle_feedback(first.token, verdict, end).await,
            LOST
        );
        let stranger = subject.token();
        assert_eq!(
            subject.settle_feedback(stranger, verdict, noon()).await,
            LOST
        );
    }
    let second = subject.receive_feedback(end).await.unwrap();
    let stale = subject.settle_feedback(first.token, Verdict::Complete, end);
    assert_eq!(stale.await, LOST);
    let current = subject.settle_feedback(second.token, Verdict::Complete, end);
    assert_eq!(current.await, Ok(()));
    let again = subject.settle_feedback(second.token, Verdict::Complete, end);
    assert_eq!(again.await, LOST);
}

#[doc(hidden)]
pub async fn records_are_dropped_after_their_last_delivery(subject: Subject) {
    report(&subject, &["a", "b"]).await;
    let mut now = noon();
    for _ in 0..3 {
        now = subject.receive_feedback(now).await.unwrap().locked_until;
    }
    let last_hold = now - Duration::from_millis(1);
    let dropped = subject.feedback.sweep_feedback(10, 3, last_hold).await;
    assert_eq!(dropped.unwrap(), 0, "a held batch keeps its last delivery");
    assert_eq!(subject.receive_feedback(now).await, None);
    assert_eq!(
        subject.feedback.sweep_feedback(10, 3, now).await.unwrap(),
        2
    );
    assert_eq!(
        subject.feedback.sweep_feedback(10, 3, now).await.unwrap(),
        0
    );
}

#[doc(hidden)]
pub async fn records_are_dropped_at_the_end_of_their_life(subject: Subject) {
    let rules = QueueRules {
        feedback_ttl: MINUTE,
        ..queue_rules()
    };
    report_in(&subject, &a_hub(), rules, &["a", "b", "c"]).await;
    let held = subject.receive_feedback(noon() + INTERVAL).await.unwrap();
    let end = noon() + MINUTE;
    assert!(end < held.locked_until);
    assert_eq!(subject.receive_feedback(end).await, None);
    let settled = subject.settle_feedback(held.token, Verdict::Complete, end);
    assert_eq!(settled.await, LOST);
    let mut dropped = Vec::new();
    for _ in 0..3 {
        dropped.push(subject.feedback.sweep_feedback(2, 3, end).await.unwrap());
    }
    assert_eq!(dropped, [2, 1, 0]);
}

#[doc(hidden)]
pub async fn hubs_have_queues_of_their_own(subject: Subject) {
    let other: HubName = "other.downlink.test".parse().expect("a valid name");
    report_in(&subject, &other, queue_rules(), &["a", "b"]).await;
    assert_eq!(subject.receive_feedback(noon() + INTERVAL).await, None);
    let request = subject.feedback_request(2, noon());
    let received = subject
        .feedback
        .receive_feedback(other.clone(), request, noon());
    let batch = received.await.unwrap().unwrap();
    assert!(batch.records.iter().all(|record| record.hub == other));
    let settled = subject.settle_feedback(batch.token, Verdict::Complete, noon());
    assert_eq!(settled.await, LOST, "of another hub");
    let settled = subject
        .feedback
        .settle_feedback(other, batch.token, Verdict::Complete, noon());
    assert_eq!(settled.await.unwrap(), Ok(()));
}

#[doc(hidden)]
pub async fn feedback_outlives_its_device(subject: Subject) {
    report(&subject, &["a", "b"]).await;
    let name = an_identity("dev-1");
    let deleted = subject
        .registry
        .delete(a_hub(), name, IfMatch::Any, somebody(), noon())
        .await;
    let deleted = deleted.unwrap().unwrap();
    let batch = subject.receive_feedback(noon()).await.unwrap();
    assert_eq!(batch.records[0].generation, deleted.generation);
    assert_eq!(batch.records[0].device_key, deleted.key);
    assert_eq!(ids(Some(batch)), ["id-of-a", "id-of-b"]);
}

#[doc(hidden)]
pub async fn every_record_is_an_event_too(subject: Subject) {
    report(&subject, &["a", "b"]).await;
    let events = subject.events(EventKind::Feedback).await;
    let batch = subject.receive_feedback(noon()).await.unwrap();
    assert_eq!(events.len(), 2);
    assert_ne!(events[0].id, events[1].id);
    for (event, record) in events.iter().zip(&batch.records) {
        assert_eq!(event.body, feedback_json(record).to_string());
        assert_eq!(event.device_key, record.device_key);
        assert_eq!(event.hub, record.hub);
        let text = std::str::from_utf8(&event.body).unwrap();
        let is_plain = |c: char| (' '..='~').contains(&c) && c != '\\';
        assert!(text.chars().all(is_plain), "{text}");
    }
}
