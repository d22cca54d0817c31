//! Messages settled, by every verdict.

use std::time::Duration;

use downlink_domain::message::feedback::FeedbackStatus;
use downlink_domain::message::{AckMode, DeliveryCounting, NewMessage, QueueRules, Verdict};

use super::Subject;
use super::expect::bodies;
use super::given::{a_message, a_message_to, noon, queue_rules};
use super::subject::settlement;
use crate::{LockedMessage, SettleError};

const LOST: Result<(), SettleError> = Err(SettleError::LockLost);
const MINUTE: Duration = Duration::from_mins(1);

fn two_deliveries() -> QueueRules {
    QueueRules {
        max_delivery_count: 2,
        ..queue_rules()
    }
}

fn two_abandons() -> QueueRules {
    QueueRules {
        counting: DeliveryCounting::Abandons,
        ..two_deliveries()
    }
}

fn reported(body: &'static str) -> NewMessage {
    NewMessage {
        ack: AckMode::Full,
        ..a_message_to("dev-1", body)
    }
}

#[doc(hidden)]
pub async fn completed_messages_are_gone(subject: Subject) {
    let device = subject.register("dev-1").await;
    subject.enqueue(a_message(), noon()).await.unwrap();
    let held = subject.receive(device.key, 1, noon()).await.remove(0);
    assert_eq!(
        subject.settle(&held, Verdict::Complete, noon()).await,
        Ok(())
    );
    assert_eq!(subject.count(device.key, noon()).await, 0);
    let later = noon() + MINUTE;
    assert!(subject.receive(device.key, 1, later).await.is_empty());
    assert_eq!(subject.settle(&held, Verdict::Complete, noon()).await, LOST);
}

#[doc(hidden)]
pub async fn each_ack_mode_hears_of_the_outcomes_it_asked_for(subject: Subject) {
    let device = subject.register("dev-1").await;
    let modes = [
        (AckMode::None, vec![]),
        (AckMode::Positive, vec![FeedbackStatus::Success]),
        (AckMode::Negative, vec![FeedbackStatus::Rejected]),
        (
            AckMode::Full,
            vec![FeedbackStatus::Success, FeedbackStatus::Rejected],
        ),
    ];
    for (ack, expected) in modes {
        let message = NewMessage {
            ack,
            ..a_message_to("dev-1", "x")
        };
        subject.enqueue_all(vec![message; 2], 50, noon()).await;
        let held = subject.receive(device.key, 2, noon()).await;
        let at = noon() + Duration::from_secs(1);
        for (held, verdict) in held.iter().zip([Verdict::Complete, Verdict::Reject]) {
            assert_eq!(subject.settle(held, verdict, at).await, Ok(()));
        }
        let records = subject.take_feedback(at).await;
        let outcomes: Vec<_> = records.iter().map(|record| record.status).collect();
        assert_eq!(outcomes, expected, "{ack:?}");
        for record in records {
            assert_eq!(record.original_message_id.as_deref(), Some("id-of-x"));
            assert_eq!(record.device, device.name.device);
            assert_eq!(record.device_key, device.key);
            assert_eq!(record.generation, device.generation);
            assert_eq!(record.hub, device.hub);
            assert_eq!(record.at, at);
        }
    }
}

#[doc(hidden)]
pub async fn a_settlement_needs_the_current_token(subject: Subject) {
    let device = subject.register("dev-1").await;
    subject.enqueue(a_message(), noon()).await.unwrap();
    let first = subject.receive(device.key, 1, noon()).await.remove(0);
    let second = subject
        .receive(device.key, 1, first.lock.until)
        .await
        .remove(0);
    for verdict in [
        Verdict::Complete,
        Verdict::Abandon,
        Verdict::Reject,
        Verdict::ReleaseDelivered,
        Verdict::ReleaseUndelivered,
    ] {
        let at = first.lock.until;
        assert_eq!(subject.settle(&first, verdict, at).await, LOST);
    }
    let at = first.lock.until;
    assert_eq!(subject.settle(&second, Verdict::Complete, at).await, Ok(()));
}

#[doc(hidden)]
pub async fn a_settlement_at_the_end_of_the_lock_is_lost(subject: Subject) {
    let device = subject.register("dev-1").await;
    subject.enqueue_all(vec![a_message(); 2], 50, noon()).await;
    let held = subject.receive(device.key, 2, noon()).await;
    let until = held[0].lock.until;
    let just_before = until - Duration::from_millis(1);
    let settled = subject
        .settle(&held[0], Verdict::Complete, just_before)
        .await;
    assert_eq!(settled, Ok(()));
    let settled = subject.settle(&held[1], Verdict::Complete, until).await;
    assert_eq!(settled, LOST);
    assert_eq!(subject.count(device.key, until).await, 1);
}

#[doc(hidden)]
pub async fn a_settlement_at_the_expiry_is_lost(subject: Subject) {
    let device = subject.register("dev-1").await;
    let expiry = noon() + Duration::from_secs(1);
    let message = NewMessage {
        expiry: Some(expiry),
        ..reported("brief")
    };
    subject.enqueue(message, noon()).await.unwrap();
    let held = subject.receive(device.key, 1, noon()).await.remove(0);
    assert_eq!(subject.settle(&held, Verdict::Complete, expiry).await, LOST);
    subject.sweep(10, expiry).await;
    let outcomes = subject.take_outcomes(expiry).await;
    assert_eq!(outcomes, [FeedbackStatus::Expired]);
}

#[doc(hidden)]
pub async fn the_second_settlement_of_a_batch_is_lost(subject: Subject) {
    let device = subject.register("dev-1").await;
    subject.enqueue(reported("a"), noon()).await.unwrap();
    let held = subject.receive(device.key, 1, noon()).await.remove(0);
    let settlements = vec![
        settlement(&held, Verdict::Complete),
        settlement(&held, Verdict::Reject),
    ];
    let answers = subject.messages.settle(settlements, queue_rules(), noon());
    assert_eq!(answers.await.unwrap(), [Ok(()), LOST]);
    let outcomes = subject.take_outcomes(noon()).await;
    assert_eq!(outcomes, [FeedbackStatus::Success]);
}

#[doc(hidden)]
pub async fn settlements_are_answered_by_position_and_in_any_order(subject: Subject) {
    let device = subject.register("dev-1").await;
    let messages = ["a", "b", "c"].map(|body| a_message_to("dev-1", body));
    subject.enqueue_all(messages.to_vec(), 50, noon()).await;
    let held = subject.receive(device.key, 3, noon()).await;
    let stranger = LockedMessage {
        lock: held[0].lock,
        ..held[1].clone()
    };
    let settlements = vec![
        settlement(&held[2], Verdict::Complete),
        settlement(&stranger, Verdict::Complete),
        settlement(&held[0], Verdict::Complete),
    ];
    let answers = subject.messages.settle(settlements, queue_rules(), noon());
    assert_eq!(answers.await.unwrap(), [Ok(()), LOST, Ok(())]);
    let received = subject.receive(device.key, 3, noon() + MINUTE).await;
    assert_eq!(bodies(&received), ["b"]);
}

#[doc(hidden)]
pub async fn an_abandoned_message_returns_to_its_place(subject: Subject) {
    let device = subject.register("dev-1").await;
    let messages = ["a", "b"].map(|body| a_message_to("dev-1", body));
    subject.enqueue_all(messages.to_vec(), 50, noon()).await;
    let held = subject.receive(device.key, 1, noon()).await.remove(0);
    assert_eq!(
        subject.settle(&held, Verdict::Abandon, noon()).await,
        Ok(())
    );
    let again = subject.receive(device.key, 2, noon()).await;
    assert_eq!(bodies(&again), ["a", "b"]);
    assert_eq!(again[0].message.delivery_count, 1);
    assert_eq!(again[1].message.delivery_count, 0);
    assert_eq!(again[0].message.sequence, held.message.sequence);
}

#[doc(hidden)]
pub async fn an_abandoned_message_is_dead_lettered_after_its_last_delivery(subject: Subject) {
    let device = subject.register("dev-1").await;
    subject.enqueue(reported("a"), noon()).await.unwrap();
    for count in 0..2 {
        let held = subject
            .receive_by(two_deliveries(), device.key, 1, noon())
            .await
            .remove(0);
        assert_eq!(held.message.delivery_count, count);
        let settled = subject.settle_by(two_deliveries(), &held, Verdict::Abandon, noon());
        assert_eq!(settled.await, Ok(()));
    }
    assert_eq!(subject.count(device.key, noon()).await, 0);
    let outcomes = subject.take_outcomes(noon()).await;
    assert_eq!(outcomes, [FeedbackStatus::DeliveryCountExceeded]);
}

#[doc(hidden)]
pub async fn a_message_whose_lock_lapses_is_dead_lettered_after_its_last_delivery(
    subject: Subject,
) {
    let device = subject.register("dev-1").await;
    subject.enqueue(reported("a"), noon()).await.unwrap();
    let mut now = noon();
    for _ in 0..2 {
        let held = subject
            .receive_by(two_deliveries(), device.key, 1, now)
            .await;
        assert_eq!(bodies(&held), ["a"]);
        now = held[0].lock.until;
    }
    let held = subject
        .receive_by(two_deliveries(), device.key, 1, now)
        .await;
    assert!(held.is_empty(), "never handed out a third time");
    let swept = subject.messages.sweep(10, two_deliveries(), now).await;
    assert_eq!(swept.unwrap().exhausted, 1);
    assert_eq!(subject.count(device.key, now).await, 0);
    let outcomes = subject.take_outcomes(now).await;
    assert_eq!(outcomes, [FeedbackStatus::DeliveryCountExceeded]);
}

#[doc(hidden)]
pub async fn a_receive_passes_exhausted_messages_and_hands_out_those_behind(subject: Subject) {
    let device = subject.register("dev-1").await;
    let messages = ["a", "b", "c", "d"].map(reported);
    subject.enqueue_all(messages.to_vec(), 50, noon()).await;
    let once = QueueRules {
        max_delivery_count: 1,
        ..queue_rules()
    };
    let held = subject.receive_by(once, device.key, 3, noon()).await;
    assert_eq!(held.len(), 3);
    let later = held[0].lock.until;
    let received = subject.receive_by(once, device.key, 2, later).await;
    assert_eq!(bodies(&received), ["d"]);
    let swept = subject.messages.sweep(10, once, later).await;
    assert_eq!(swept.unwrap().exhausted, 3);
    let outcomes = subject.take_outcomes(later).await;
    assert_eq!(outcomes, [FeedbackStatus::DeliveryCountExceeded; 3]);
}

#[doc(hidden)]
pub async fn a_released_delivered_message_counts_as_a_delivery(subject: Subject) {
    let device = subject.register("dev-1").await;
    subject.enqueue(reported("a"), noon()).await.unwrap();
    for count in 0..2 {
        let held = subject
            .receive_by(two_deliveries(), device.key, 1, noon())
            .await
            .remove(0);
        assert_eq!(held.message.delivery_count, count);
        let settled = subject.settle_by(two_deliveries(), &held, Verdict::ReleaseDelivered, noon());
        assert_eq!(settled.await, Ok(()));
    }
    assert_eq!(subject.count(device.key, noon()).await, 0);
    let outcomes = subject.take_outcomes(noon()).await;
    assert_eq!(outcomes, [FeedbackStatus::DeliveryCountExceeded]);
}

#[doc(hidden)]
pub async fn a_released_undelivered_message_counts_as_not_received(subject: Subject) {
    let device = subject.register("dev-1").await;
    subject.enqueue(reported("a"), noon()).await.unwrap();
    for rules in [two_deliveries(), two_abandons()] {
        for _ in 0..5 {
            let held = subject.receive_by(rules, device.key, 1, noon()).await;
            assert_eq!(held[0].message.delivery_count, 0);
            let settled = subject.settle_by(rules, &held[0], Verdict::ReleaseUndelivered, noon());
            assert_eq!(settled.await, Ok(()));
        }
    }
    assert!(subject.take_outcomes(noon()).await.is_empty());
}

#[doc(hidden)]
pub async fn when_abandons_count_a_lapse_does_not(subject: Subject) {
    let device = subject.register("dev-1").await;
    subject.enqueue(reported("a"), noon()).await.unwrap();
    let mut now = noon();
    for _ in 0..5 {
        let held = subject.receive_by(two_abandons(), device.key, 1, now).await;
        assert_eq!(held[0].message.delivery_count, 0);
        now = held[0].lock.until;
    }
    let held = subject.receive_by(two_abandons(), device.key, 1, now).await;
    let settled = subject.settle_by(two_abandons(), &held[0], Verdict::ReleaseDelivered, now);
    assert_eq!(settled.await, Ok(()));
    assert_eq!(subject.count(device.key, now).await, 1);
}

#[doc(hidden)]
pub async fn when_abandons_count_the_one_beyond_the_maximum_ends_the_message(subject: Subject) {
    let device = subject.register("dev-1").await;
    subject.enqueue(reported("a"), noon()).await.unwrap();
    for count in 0..3 {
        let held = subject
            .receive_by(two_abandons(), device.key, 1, noon())
            .await;
        assert_eq!(held[0].message.delivery_count, count);
        let settled = subject.settle_by(two_abandons(), &held[0], Verdict::Abandon, noon());
        assert_eq!(settled.await, Ok(()));
    }
    assert_eq!(subject.count(device.key, noon()).await, 0);
    let outcomes = subject.take_outcomes(noon()).await;
    assert_eq!(outcomes, [FeedbackStatus::DeliveryCountExceeded]);
}

#[doc(hidden)]
pub async fn a_rejected_message_is_dead_lettered(subject: Subject) {
    let device = subject.register("dev-1").await;
    subject.enqueue(reported("a"), noon()).await.unwrap();
    let held = subject.receive(device.key, 1, noon()).await.remove(0);
    assert_eq!(subject.settle(&held, Verdict::Reject, noon()).await, Ok(()));
    assert_eq!(subject.count(device.key, noon()).await, 0);
    let outcomes = subject.take_outcomes(noon()).await;
    assert_eq!(outcomes, [FeedbackStatus::Rejected]);
}
