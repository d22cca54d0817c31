//! What time has done, made visible.

use std::time::Duration;

use downlink_domain::message::feedback::FeedbackStatus;
use downlink_domain::message::{AckMode, NewMessage, QueueRules, Verdict};

use super::Subject;
use super::expect::bodies;
use super::given::{a_message, a_message_to, noon, queue_rules};
use crate::{SettleError, Swept};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

fn brief(device: &str) -> NewMessage {
    NewMessage {
        expiry: Some(noon() + SECOND),
        ack: AckMode::Negative,
        ..a_message_to(device, "brief")
    }
}

#[doc(hidden)]
pub async fn an_expired_message_ends_with_feedback_held_or_not(subject: Subject) {
    let device = subject.register("dev-1").await;
    let messages = vec![brief("dev-1"), brief("dev-1"), a_message()];
    subject.enqueue_all(messages, 50, noon()).await;
    assert_eq!(subject.receive(device.key, 1, noon()).await.len(), 1);

    let just_before = noon() + SECOND - Duration::from_millis(1);
    assert_eq!(subject.sweep(10, just_before).await, Swept::default());
    let swept = subject.sweep(10, noon() + SECOND).await;

    assert_eq!(swept.expired, 2);
    assert_eq!((swept.exhausted, swept.more), (0, false));
    assert!(swept.lapsed.is_empty());
    let outcomes = subject.take_outcomes(noon() + SECOND).await;
    assert_eq!(outcomes, [FeedbackStatus::Expired; 2]);
    assert_eq!(subject.sweep(10, noon() + SECOND).await, Swept::default());
}

#[doc(hidden)]
pub async fn a_swept_message_cannot_be_settled(subject: Subject) {
    let device = subject.register("dev-1").await;
    subject.enqueue(brief("dev-1"), noon()).await.unwrap();
    let held = subject.receive(device.key, 1, noon()).await.remove(0);
    subject.sweep(10, noon() + SECOND).await;
    let settled = subject.settle(&held, Verdict::Complete, noon()).await;
    assert_eq!(settled, Err(SettleError::LockLost));
}

#[doc(hidden)]
pub async fn lapsed_locks_are_reported_once_for_each_device(subject: Subject) {
    let first = subject.register("dev-1").await;
    let second = subject.register("dev-2").await;
    subject.register("dev-3").await;
    for device in ["dev-1", "dev-2", "dev-3"] {
        let messages = vec![a_message_to(device, "a"), a_message_to(device, "b")];
        subject.enqueue_all(messages, 50, noon()).await;
    }
    let held = subject.receive(first.key, 2, noon()).await;
    subject.receive(second.key, 1, noon()).await;

    let later = noon() + MINUTE;
    let mut swept = subject.sweep(10, later).await;
    swept.lapsed.sort_unstable();
    let expected = Swept {
        lapsed: vec![first.key, second.key],
        ..Swept::default()
    };
    assert_eq!(swept, expected);
    assert_eq!(subject.sweep(10, later).await, Swept::default());

    let settled = subject.settle(&held[0], Verdict::Complete, noon()).await;
    assert_eq!(settled, Err(SettleError::LockLost));
    let again = subject.receive(first.key, 2, later).await;
    assert_eq!(bodies(&again), ["a", "b"]);
    assert_eq!(again[0].message.delivery_count, 1);
}

#[doc(hidden)]
pub async fn a_lapsed_last_delivery_is_dead_lettered(subject: Subject) {
    let device = subject.register("dev-1").await;
    let message = NewMessage {
        ack: AckMode::Negative,
        ..a_message()
    };
    subject.enqueue(message, noon()).await.unwrap();
    let rules = QueueRules {
        max_delivery_count: 1,
        ..queue_rules()
    };
    subject.receive_by(rules, device.key, 1, noon()).await;
    let later = noon() + MINUTE;
    let swept = subject.messages.sweep(10, rules, later).await.unwrap();
    let expected = Swept {
        exhausted: 1,
        ..Swept::default()
    };
    assert_eq!(swept, expected);
    let outcomes = subject.take_outcomes(later).await;
    assert_eq!(outcomes, [FeedbackStatus::DeliveryCountExceeded]);
}

#[doc(hidden)]
pub async fn a_sweep_stops_at_its_limit_and_says_so(subject: Subject) {
    subject.register("dev-1").await;
    subject
        .enqueue_all(vec![brief("dev-1"); 5], 50, noon())
        .await;
    let now = noon() + SECOND;
    let mut counts = Vec::new();
    for _ in 0..3 {
        let swept = subject.sweep(2, now).await;
        counts.push((swept.expired, swept.more));
    }
    assert_eq!(counts, [(2, true), (2, true), (1, false)]);
}

#[doc(hidden)]
pub async fn a_sweep_without_anything_due_changes_nothing(subject: Subject) {
    let device = subject.register("dev-1").await;
    subject.enqueue_all(vec![a_message(); 2], 50, noon()).await;
    let held = subject.receive(device.key, 1, noon()).await.remove(0);
    assert_eq!(subject.sweep(10, noon()).await, Swept::default());
    assert_eq!(
        subject.settle(&held, Verdict::Complete, noon()).await,
        Ok(())
    );
    assert_eq!(subject.count(device.key, noon()).await, 1);
}
