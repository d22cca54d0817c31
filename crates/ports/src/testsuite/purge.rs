//! Queues emptied.

use std::time::Duration;

use downlink_domain::message::feedback::FeedbackStatus;
use downlink_domain::message::{AckMode, NewMessage, Verdict};

use super::Subject;
use super::given::{a_hub, a_message, a_message_to, noon, queue_rules, somebody};
use crate::{PurgeOrder, PurgeOutcome, SettleError};

async fn purge(subject: &Subject, device: &str, at: Duration) -> Option<PurgeOutcome> {
    let order = PurgeOrder {
        hub: a_hub(),
        device: device.parse().expect("a valid id"),
        by: somebody(),
        audit_id: [7; 16],
        at: noon() + at,
    };
    subject
        .messages
        .purge(order, queue_rules())
        .await
        .expect("a store that works")
}

#[doc(hidden)]
pub async fn a_purge_removes_everything_that_waits_and_tells_the_senders(subject: Subject) {
    let device = subject.register("dev-1").await;
    let other = subject.register("dev-2").await;
    let with_ack = |ack| NewMessage { ack, ..a_message() };
    let messages = vec![
        with_ack(AckMode::None),
        with_ack(AckMode::Positive),
        with_ack(AckMode::Negative),
        with_ack(AckMode::Full),
        a_message_to("dev-2", "stays"),
    ];
    subject.enqueue_all(messages, 50, noon()).await;
    let held = subject.receive(device.key, 1, noon()).await.remove(0);

    let outcome = purge(&subject, "dev-1", Duration::ZERO).await;

    assert_eq!(outcome, Some(PurgeOutcome { removed: 4 }));
    let counts = subject.messages.count(vec![device.key, other.key], noon());
    assert_eq!(counts.await.unwrap(), [0, 1]);
    let outcomes = subject.take_outcomes(noon()).await;
    assert_eq!(outcomes, [FeedbackStatus::Purged; 2]);
    let settled = subject.settle(&held, Verdict::Complete, noon()).await;
    assert_eq!(settled, Err(SettleError::LockLost));
}

#[doc(hidden)]
pub async fn a_purge_of_an_unknown_device_answers_none(subject: Subject) {
    assert_eq!(purge(&subject, "nobody", Duration::ZERO).await, None);
    subject.register("dev-1").await;
    let outcome = purge(&subject, "dev-1", Duration::ZERO).await;
    assert_eq!(outcome, Some(PurgeOutcome { removed: 0 }));
}

#[doc(hidden)]
pub async fn a_purge_leaves_expired_messages_to_the_sweep(subject: Subject) {
    subject.register("dev-1").await;
    let brief = NewMessage {
        ack: AckMode::Full,
        expiry: Some(noon() + Duration::from_secs(1)),
        ..a_message()
    };
    subject.enqueue(brief, noon()).await.unwrap();
    let at = Duration::from_secs(1);
    let outcome = purge(&subject, "dev-1", at).await;
    assert_eq!(outcome, Some(PurgeOutcome { removed: 0 }));
    subject.sweep(10, noon() + at).await;
    let outcomes = subject.take_outcomes(noon() + at).await;
    assert_eq!(outcomes, [FeedbackStatus::Expired]);
}

#[doc(hidden)]
pub async fn a_purged_queue_takes_messages_again(subject: Subject) {
    let device = subject.register("dev-1").await;
    for _ in 0..2 {
        let accepted = subject.enqueue_all(vec![a_message(); 3], 2, noon()).await;
        let accepted: Vec<_> = accepted.iter().map(Result::is_ok).collect();
        assert_eq!(accepted, [true, true, false]);
        let outcome = purge(&subject, "dev-1", Duration::ZERO).await;
        assert_eq!(outcome, Some(PurgeOutcome { removed: 2 }));
        assert_eq!(subject.count(device.key, noon()).await, 0);
    }
}
