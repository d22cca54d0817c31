//! Every row of c2d.md §4, for both ways of counting.

use std::time::Duration;

use super::*;

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn rules(counting: DeliveryCounting, max_delivery_count: u32) -> QueueRules {
    QueueRules {
        counting,
        max_delivery_count,
        feedback_ttl: Duration::from_hours(1),
    }
}

fn deliveries() -> QueueRules {
    rules(DeliveryCounting::Deliveries, 3)
}

fn abandons() -> QueueRules {
    rules(DeliveryCounting::Abandons, 3)
}

fn lock(token: u8, until: i64) -> Lock {
    Lock {
        token: LockToken([token; 16]),
        until: at(until),
    }
}

/// A message that lives until 10,000 ms.
fn waiting(ack: AckMode) -> Standing {
    Standing {
        expiry: at(10_000),
        delivery_count: 0,
        ack,
        state: MessageState::Enqueued,
    }
}

#[track_caller]
fn received(message: Standing, lock: Lock, rules: &QueueRules, now: i64) -> Standing {
    let decision = receive(message, lock, rules, at(now)).unwrap();
    assert_eq!(decision.feedback, None);
    decision.next
}

/// A message held by token 1 until 100 ms, received at 0 ms under `rules`.
fn held(ack: AckMode, rules: &QueueRules) -> Standing {
    received(waiting(ack), lock(1, 100), rules, 0)
}

#[test]
fn a_received_message_is_invisible_under_its_new_lock() {
    let message = held(AckMode::None, &deliveries());
    assert_eq!(
        message.state,
        MessageState::Invisible { lock: lock(1, 100) }
    );
}

#[test]
fn a_held_message_is_not_handed_out_again_before_its_lock_ends() {
    let message = held(AckMode::None, &deliveries());
    let again = |now| receive(message, lock(2, 200), &deliveries(), at(now));
    assert_eq!(again(99), Err(NotReceivable::Held));
    assert!(again(100).is_ok());
}

#[test]
fn an_expired_or_ended_message_is_not_handed_out() {
    let message = waiting(AckMode::None);
    let taken = |message, now| receive(message, lock(1, 20_000), &deliveries(), at(now));
    assert!(taken(message, 9_999).is_ok());
    assert_eq!(taken(message, 10_000), Err(NotReceivable::Expired));
    let done = complete(held(AckMode::None, &deliveries()), lock(1, 0).token, at(1));
    assert_eq!(taken(done.unwrap().next, 2), Err(NotReceivable::Ended));
}

#[test]
fn completion_ends_the_message_and_reports_success_to_positive_and_full() {
    for (ack, reported) in [
        (AckMode::None, None),
        (AckMode::Positive, Some(FeedbackStatus::Success)),
        (AckMode::Negative, None),
        (AckMode::Full, Some(FeedbackStatus::Success)),
    ] {
        let decision = complete(held(ack, &deliveries()), lock(1, 0).token, at(5)).unwrap();
        assert_eq!(
            decision.next.state,
            MessageState::Completed { at: at(5) },
            "{ack:?}"
        );
        assert_eq!(decision.feedback, reported, "{ack:?}");
    }
}

#[test]
fn rejection_dead_letters_and_reports_to_negative_and_full() {
    for (ack, reported) in [
        (AckMode::None, None),
        (AckMode::Positive, None),
        (AckMode::Negative, Some(FeedbackStatus::Rejected)),
        (AckMode::Full, Some(FeedbackStatus::Rejected)),
    ] {
        let decision = reject(held(ack, &deliveries()), lock(1, 0).token, at(5)).unwrap();
        let reason = DeadLetterReason::Rejected;
        assert_eq!(
            decision.next.state,
            MessageState::DeadLettered { at: at(5), reason }
        );
        assert_eq!(decision.feedback, reported, "{ack:?}");
    }
}

#[test]
fn every_settlement_needs_the_current_lock_before_its_end_and_before_the_expiry() {
    let verdicts = [
        Verdict::Complete,
        Verdict::Abandon,
        Verdict::Reject,
        Verdict::ReleaseDelivered,
        Verdict::ReleaseUndelivered,
    ];
    let message = held(AckMode::Full, &deliveries());
    let long = received(waiting(AckMode::Full), lock(1, 50_000), &deliveries(), 0);
    for verdict in verdicts {
        let settled = |message, token, now| {
            settle(
                message,
                lock(token, 0).token,
                verdict,
                &deliveries(),
                at(now),
            )
        };
        assert!(settled(message, 1, 99).is_ok(), "{verdict:?}");
        assert_eq!(settled(message, 2, 50), Err(LockLost), "{verdict:?}");
        assert_eq!(settled(message, 1, 100), Err(LockLost), "{verdict:?}");
        assert!(settled(long, 1, 9_999).is_ok(), "{verdict:?}");
        assert_eq!(settled(long, 1, 10_000), Err(LockLost), "{verdict:?}");
        let waiting = waiting(AckMode::Full);
        assert_eq!(settled(waiting, 1, 0), Err(LockLost), "{verdict:?}");
        let ended = settled(message, 1, 50).unwrap().next;
        assert_eq!(settled(ended, 1, 50), Err(LockLost), "{verdict:?}");
    }
}

#[test]
fn the_token_of_an_earlier_lock_settles_nothing() {
    let first = held(AckMode::None, &deliveries());
    let second = received(first, lock(2, 200), &deliveries(), 100);
    assert_eq!(complete(second, lock(1, 0).token, at(101)), Err(LockLost));
    assert!(complete(second, lock(2, 0).token, at(101)).is_ok());
}

#[test]
fn abandoned_message_is_redelivered_until_max_delivery_count() {
    let rules = deliveries();
    let mut message = waiting(AckMode::Full);
    for seen in 0..3 {
        message = received(message, lock(1, 100), &rules, 0);
        assert_eq!(message.seen_delivery_count(rules.counting), seen);
        let decision = abandon(message, lock(1, 0).token, &rules, at(1)).unwrap();
        message = decision.next;
        let is_last = seen == 2;
        assert_eq!(message.state.is_terminal(), is_last);
        assert_eq!(
            decision.feedback,
            is_last.then_some(FeedbackStatus::DeliveryCountExceeded)
        );
    }
}

#[test]
fn counting_abandons_a_message_ends_with_the_abandon_that_exceeds_the_maximum() {
    let rules = abandons();
    let mut message = waiting(AckMode::Negative);
    for seen in 0..4 {
        message = received(message, lock(1, 100), &rules, 0);
        assert_eq!(message.seen_delivery_count(rules.counting), seen);
        let decision = abandon(message, lock(1, 0).token, &rules, at(1)).unwrap();
        message = decision.next;
        let is_last = seen == 3;
        assert_eq!(message.state.is_terminal(), is_last, "{seen}");
        assert_eq!(
            decision.feedback,
            is_last.then_some(FeedbackStatus::DeliveryCountExceeded)
        );
    }
}

#[test]
fn a_lapse_and_a_lost_connection_count_like_an_abandon_when_deliveries_count() {
    let rules = deliveries();
    let mut message = waiting(AckMode::Full);
    message = received(message, lock(1, 100), &rules, 0);
    message = lapse(message, &rules, at(100)).unwrap().next;
    assert_eq!(message.state, MessageState::Enqueued);
    message = received(message, lock(2, 300), &rules, 200);
    message = release_delivered(message, lock(2, 0).token, &rules, at(201))
        .unwrap()
        .next;
    assert_eq!(message.state, MessageState::Enqueued);
    message = received(message, lock(3, 400), &rules, 300);
    let last = lapse(message, &rules, at(400)).unwrap();
    assert!(last.next.state.is_terminal());
    assert_eq!(last.feedback, Some(FeedbackStatus::DeliveryCountExceeded));
}

#[test]
fn a_lapse_and_a_lost_connection_never_end_a_message_when_only_abandons_count() {
    let rules = abandons();
    let mut message = waiting(AckMode::Full);
    for round in 0..20 {
        message = received(message, lock(1, 100), &rules, 0);
        let decision = if round % 2 == 0 {
            lapse(message, &rules, at(100)).unwrap()
        } else {
            release_delivered(message, lock(1, 0).token, &rules, at(1)).unwrap()
        };
        message = decision.next;
        assert_eq!(message, waiting(AckMode::Full));
    }
}

#[test]
fn an_undelivered_release_restores_what_was_before_the_receive() {
    for rules in [deliveries(), abandons()] {
        let before = waiting(AckMode::Full);
        let message = received(before, lock(1, 100), &rules, 0);
        let decision = release_undelivered(message, lock(1, 0).token, &rules, at(1)).unwrap();
        assert_eq!(decision.next, before);
        assert_eq!(decision.feedback, None);
    }
}

#[test]
fn a_message_whose_last_lock_lapsed_is_not_handed_out_but_ended() {
    let rules = rules(DeliveryCounting::Deliveries, 1);
    let message = held(AckMode::Full, &rules);
    let again = receive(message, lock(2, 200), &rules, at(100));
    assert_eq!(again, Err(NotReceivable::Exhausted));
    let ended = due(message, &rules, at(100)).unwrap();
    assert_eq!(ended.feedback, Some(FeedbackStatus::DeliveryCountExceeded));
}

#[test]
fn a_lapsed_lock_is_taken_over_without_a_sweep_in_between() {
    for rules in [deliveries(), abandons()] {
        let message = held(AckMode::None, &rules);
        let over = received(message, lock(2, 200), &rules, 100);
        let swept = lapse(message, &rules, at(100)).unwrap().next;
        assert_eq!(over, received(swept, lock(2, 200), &rules, 100));
    }
}

#[test]
fn an_expiry_ends_waiting_and_held_messages_and_wins_over_a_lapse() {
    for message in [
        waiting(AckMode::Negative),
        held(AckMode::Negative, &deliveries()),
    ] {
        assert_eq!(expire(message, at(9_999)), None);
        let decision = due(message, &deliveries(), at(10_000)).unwrap();
        let reason = DeadLetterReason::Expired;
        let ended = MessageState::DeadLettered {
            at: at(10_000),
            reason,
        };
        assert_eq!(decision.next.state, ended);
        assert_eq!(decision.feedback, Some(FeedbackStatus::Expired));
        assert_eq!(due(decision.next, &deliveries(), at(20_000)), None);
    }
}

#[test]
fn nothing_is_due_while_lock_and_message_last() {
    assert_eq!(due(waiting(AckMode::Full), &deliveries(), at(9_999)), None);
    let message = held(AckMode::Full, &deliveries());
    assert_eq!(due(message, &deliveries(), at(99)), None);
}

#[test]
fn a_purge_ends_waiting_and_held_messages_but_not_expired_or_ended_ones() {
    for message in [waiting(AckMode::Full), held(AckMode::Full, &deliveries())] {
        let decision = purge(message, at(1)).unwrap();
        assert_eq!(decision.feedback, Some(FeedbackStatus::Purged));
        assert_eq!(purge(decision.next, at(2)), None);
        assert_eq!(purge(message, at(10_000)), None);
    }
}

#[test]
fn a_count_at_its_numeric_end_does_not_wrap() {
    let full = Standing {
        delivery_count: u32::MAX,
        ..waiting(AckMode::None)
    };
    let message = received(full, lock(1, 100), &deliveries(), 0);
    assert_eq!(message.delivery_count, u32::MAX);
}
