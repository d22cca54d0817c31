//! Every row of c2d.md §4 and the rows of its acceptance list that the queue keeps.

use std::time::Duration;

use downlink_domain::ErrorCode;
use downlink_domain::device::IfMatch;
use downlink_domain::message::feedback::FeedbackStatus;
use downlink_domain::message::{DeliveryCounting, NewMessage, Verdict};
use downlink_ports::{Clock, DeviceRegistry, EnqueueError, PeerError, QueueApi, SettleError};
use downlink_testkit::{a_hub, a_message, a_message_to, an_identity, somebody};

use super::support::{Bench, DEVICE, watched};
use crate::QueueOptions;

fn id_of(body: &str) -> String {
    format!("id-of-{body}")
}

#[tokio::test]
async fn a_message_sent_while_the_device_is_offline_is_delivered_once_when_it_asks() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    bench.send(watched("open")).await;
    bench.clock.advance(Duration::from_mins(30));
    let held = bench.receive_one(device).await;
    assert_eq!(held.message.body, "open");
    assert_eq!(held.message.delivery_count, 0);
    assert_eq!(bench.receive(device, 10).await, Vec::new());
    assert_eq!(bench.settle(&held, Verdict::Complete).await, Ok(()));
    assert_eq!(bench.count(device).await, 0);
    let reports = bench.next_feedback().await;
    assert_eq!(reports, [(id_of("open"), FeedbackStatus::Success)]);
}

#[tokio::test]
async fn the_fifty_first_message_is_refused_and_room_is_made_by_completion() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    let many = (0..51).map(|_| a_message()).collect();
    let answers = bench.service.enqueue(many).await.unwrap();
    assert!(answers[..50].iter().all(Result::is_ok));
    let full = EnqueueError::QueueFull {
        device: DEVICE.parse().unwrap(),
        max_depth: 50,
    };
    assert_eq!(full.code(), ErrorCode::DeviceMaximumQueueDepthExceeded);
    assert_eq!(answers[50], Err(full));

    let held = bench.receive_one(device).await;
    let again = bench.service.enqueue(vec![a_message()]).await.unwrap();
    assert!(again[0].is_err(), "a held message still takes its place");
    bench.settle(&held, Verdict::Complete).await.unwrap();
    bench.send(a_message()).await;
}

#[tokio::test]
async fn abandoned_message_is_redelivered_until_max_delivery_count() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    bench.send(watched("open")).await;
    for seen in 0..10 {
        let held = bench.receive_one(device).await;
        assert_eq!(held.message.delivery_count, seen);
        bench.settle(&held, Verdict::Abandon).await.unwrap();
    }
    assert_eq!(bench.receive(device, 1).await, Vec::new());
    let reports = bench.next_feedback().await;
    assert_eq!(
        reports,
        [(id_of("open"), FeedbackStatus::DeliveryCountExceeded)]
    );
}

#[tokio::test]
async fn a_message_whose_locks_lapse_is_dead_lettered_when_deliveries_count() {
    let bench = Bench::start_with(QueueOptions {
        max_delivery_count: 2,
        ..QueueOptions::default()
    });
    let device = bench.register(DEVICE).await;
    bench.send(watched("open")).await;
    for _ in 0..2 {
        bench.receive_one(device).await;
        bench.clock.advance(Duration::from_mins(1));
    }
    assert_eq!(bench.receive(device, 1).await, Vec::new());
    let reports = bench.next_feedback().await;
    assert_eq!(
        reports,
        [(id_of("open"), FeedbackStatus::DeliveryCountExceeded)]
    );
}

#[tokio::test]
async fn a_message_whose_locks_lapse_is_offered_until_its_expiry_when_abandons_count() {
    let bench = Bench::start_with(QueueOptions {
        max_delivery_count: 2,
        counting: DeliveryCounting::Abandons,
        ..QueueOptions::default()
    });
    let device = bench.register(DEVICE).await;
    bench.send(watched("open")).await;
    for _ in 0..20 {
        let held = bench.receive_one(device).await;
        assert_eq!(held.message.delivery_count, 0);
        bench.clock.advance(Duration::from_mins(1));
    }
    bench.clock.advance(Duration::from_hours(1));
    let reports = bench.next_feedback().await;
    assert_eq!(reports, [(id_of("open"), FeedbackStatus::Expired)]);
}

#[tokio::test]
async fn rejection_is_reported_and_the_message_is_gone() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    bench.send(watched("open")).await;
    let held = bench.receive_one(device).await;
    bench.settle(&held, Verdict::Reject).await.unwrap();
    assert_eq!(bench.count(device).await, 0);
    let reports = bench.next_feedback().await;
    assert_eq!(reports, [(id_of("open"), FeedbackStatus::Rejected)]);
}

#[tokio::test]
async fn an_expiry_is_reported_within_seventy_five_seconds_of_a_one_minute_life() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    let sent_at = bench.clock.now();
    bench
        .send(NewMessage {
            expiry: Some(sent_at + Duration::from_mins(1)),
            ..watched("open")
        })
        .await;
    let reports = bench.next_feedback().await;
    assert_eq!(reports, [(id_of("open"), FeedbackStatus::Expired)]);
    let elapsed = bench.clock.now().since(sent_at);
    assert!(elapsed <= Duration::from_secs(78), "{elapsed:?}");
    assert_eq!(bench.receive(device, 1).await, Vec::new());
}

#[tokio::test]
async fn an_expired_message_is_neither_handed_out_nor_settled_before_any_sweep() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    let expiry = bench.clock.now() + Duration::from_secs(30);
    let short = |body| NewMessage {
        expiry: Some(expiry),
        ..watched(body)
    };
    bench.send(short("first")).await;
    bench.send(short("second")).await;
    let held = bench.receive_one(device).await;
    bench.clock.set(expiry);
    assert_eq!(bench.receive(device, 10).await, Vec::new());
    assert_eq!(
        bench.settle(&held, Verdict::Complete).await,
        Err(SettleError::LockLost)
    );
}

#[tokio::test]
async fn a_lapsed_lock_returns_the_message_with_its_sequence_number_and_a_new_token() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    bench.send(watched("open")).await;
    let first = bench.receive_one(device).await;
    bench.clock.advance(Duration::from_mins(1));
    let second = bench.receive_one(device).await;
    assert_eq!(first.message.sequence, second.message.sequence);
    assert_ne!(first.lock.token, second.lock.token);
    assert_eq!(second.message.delivery_count, 1);
    assert_eq!(
        bench.settle(&first, Verdict::Complete).await,
        Err(SettleError::LockLost)
    );
    assert_eq!(bench.settle(&second, Verdict::Complete).await, Ok(()));
}

#[tokio::test]
async fn of_two_messages_received_the_second_may_be_completed_first() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    bench.send(watched("first")).await;
    bench.send(watched("second")).await;
    let held = bench.receive(device, 2).await;
    bench.settle(&held[1], Verdict::Complete).await.unwrap();
    bench.settle(&held[0], Verdict::Complete).await.unwrap();
    let reports = bench.next_feedback().await;
    assert_eq!(
        reports,
        [
            (id_of("second"), FeedbackStatus::Success),
            (id_of("first"), FeedbackStatus::Success)
        ]
    );
}

#[tokio::test]
async fn a_message_that_comes_back_takes_its_old_place() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    for body in ["first", "second", "third"] {
        bench.send(watched(body)).await;
    }
    let held = bench.receive(device, 2).await;
    bench
        .settle(&held[0], Verdict::ReleaseDelivered)
        .await
        .unwrap();
    let next = bench.receive(device, 3).await;
    let bodies: Vec<_> = next.iter().map(|held| held.message.body.clone()).collect();
    assert_eq!(bodies, ["first", "third"]);
    assert_eq!(next[0].message.delivery_count, 1);
}

#[tokio::test]
async fn a_message_that_never_left_the_gateway_comes_back_as_if_it_had_not_been_received() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    bench.send(watched("open")).await;
    for _ in 0..30 {
        let held = bench.receive_one(device).await;
        assert_eq!(held.message.delivery_count, 0);
        bench
            .settle(&held, Verdict::ReleaseUndelivered)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_purge_tells_how_many_it_removed_and_reports_each() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    for body in ["first", "second", "third"] {
        bench.send(watched(body)).await;
    }
    let held = bench.receive_one(device).await;
    let purged = bench
        .service
        .purge(a_hub(), DEVICE.parse().unwrap(), somebody())
        .await;
    assert_eq!(purged.unwrap().removed, 3);
    assert_eq!(bench.count(device).await, 0);
    assert_eq!(
        bench.settle(&held, Verdict::Complete).await,
        Err(SettleError::LockLost)
    );
    let reports = bench.next_feedback().await;
    assert_eq!(reports.len(), 3);
    assert!(
        reports
            .iter()
            .all(|(_, status)| *status == FeedbackStatus::Purged)
    );
}

#[tokio::test]
async fn a_purge_of_an_unknown_device_is_refused() {
    let bench = Bench::start();
    let purged = bench
        .service
        .purge(a_hub(), "nobody".parse().unwrap(), somebody())
        .await;
    let Err(PeerError::Refused { code, message }) = purged else {
        panic!("{purged:?}");
    };
    assert_eq!(code, ErrorCode::DeviceNotFound);
    assert!(message.contains("nobody"), "{message}");
}

#[tokio::test]
async fn unknown_and_disabled_devices_get_no_messages() {
    let bench = Bench::start();
    bench.register_disabled("asleep").await;
    let messages = vec![
        a_message_to("asleep", "open"),
        a_message_to("nobody", "open"),
    ];
    let answers = bench.service.enqueue(messages).await.unwrap();
    let unknown = |device: &str| Err(EnqueueError::DeviceNotFound(device.parse().unwrap()));
    assert_eq!(answers, [unknown("asleep"), unknown("nobody")]);
}

#[tokio::test]
async fn a_device_deleted_and_created_again_has_an_empty_queue() {
    let bench = Bench::start();
    let old = bench.register(DEVICE).await;
    bench.send(watched("open")).await;
    let (name, now) = (an_identity(DEVICE), bench.clock.now());
    let deleted = bench
        .store
        .delete(a_hub(), name, IfMatch::Any, somebody(), now)
        .await;
    deleted.unwrap().unwrap();
    let new = bench.register(DEVICE).await;
    assert_ne!(old, new);
    assert_eq!(bench.count(new).await, 0);
    assert_eq!(bench.receive(new, 10).await, Vec::new());
    assert_eq!(bench.receive(old, 10).await, Vec::new());
}

#[tokio::test]
async fn one_senders_messages_are_handed_out_in_the_order_of_their_sending() {
    let bench = Bench::start_with(QueueOptions {
        max_depth: 1_000,
        ..QueueOptions::default()
    });
    let device = bench.register(DEVICE).await;
    let numbered = |number: usize| {
        let mut message = a_message();
        message.body = number.to_string().into();
        message
    };
    let calls = (0..100).map(|call| {
        let messages = (0..10).map(|place| numbered(call * 10 + place));
        bench.service.enqueue(messages.collect())
    });
    for answers in futures::future::join_all(calls).await {
        assert!(answers.unwrap().iter().all(Result::is_ok));
    }
    let received = bench.receive(device, 1_000).await;
    let bodies: Vec<_> = received
        .iter()
        .map(|held| held.message.body.clone())
        .collect();
    let sent: Vec<_> = (0..1_000).map(|number| number.to_string()).collect();
    assert_eq!(bodies, sent);
}

#[tokio::test]
async fn invalid_messages_are_answered_in_their_place_among_valid_ones() {
    let bench = Bench::start();
    let device = bench.register(DEVICE).await;
    let past = NewMessage {
        expiry: Some(bench.clock.now()),
        ..a_message()
    };
    let mut large = a_message();
    large.body = vec![0; 64 * 1024].into();
    let mut misnamed = a_message();
    misnamed.properties.application = vec![("a b".to_owned(), "c".to_owned())];
    let messages = vec![a_message(), past, large, misnamed, a_message()];
    let answers = bench.service.enqueue(messages).await.unwrap();
    let codes: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().err().map(EnqueueError::code))
        .collect();
    assert_eq!(
        codes,
        [
            None,
            Some(ErrorCode::InvalidMessageExpiryTime),
            Some(ErrorCode::MessageTooLarge),
            Some(ErrorCode::ArgumentInvalid),
            None
        ]
    );
    assert_eq!(bench.count(device).await, 2);
}
