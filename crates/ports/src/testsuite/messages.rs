//! Messages accepted and handed out.

use std::time::Duration;

use bytes::Bytes;
use downlink_domain::device::{DeviceSpec, DeviceStatus, IfMatch};
use downlink_domain::id::DeviceKey;
use downlink_domain::message::{AckMode, MessageState, NewMessage, Properties, Verdict};

use super::Subject;
use super::expect::{bodies, body};
use super::given::{
    a_device_spec, a_hub, a_message, a_message_to, an_identity, noon, queue_rules, somebody,
};
use crate::EnqueueError;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_mins(1);

#[doc(hidden)]
pub async fn accepted_messages_come_back_whole_and_in_order(subject: Subject) {
    let device = subject.register("dev-1").await;
    let sent = NewMessage {
        properties: Properties {
            message_id: Some("m-1".to_owned()),
            correlation_id: Some("c-1".to_owned()),
            to: Some("/devices/dev-1/messages/devicebound".to_owned()),
            user_id: Some("back-end \u{1f6f0}".to_owned()),
            content_type: Some("application/json".to_owned()),
            content_encoding: Some("utf-8".to_owned()),
            expiry: Some(noon()),
            application: vec![
                ("z".to_owned(), "1".to_owned()),
                ("a".to_owned(), String::new()),
                ("z".to_owned(), "\"2\"".to_owned()),
            ],
        },
        ack: AckMode::Full,
        body: Bytes::from_static(&[0, 255, 10, 0]),
        ..a_message()
    };
    let empty = NewMessage {
        properties: Properties::default(),
        body: Bytes::new(),
        ..a_message()
    };
    let accepted = subject
        .enqueue_all(vec![sent.clone(), empty.clone()], 50, noon())
        .await;

    let received = subject.receive(device.key, 5, noon() + SECOND).await;

    assert_eq!(received.len(), 2);
    for ((locked, sent), accepted) in received.iter().zip([&sent, &empty]).zip(&accepted) {
        let message = &locked.message;
        let accepted = accepted.as_ref().unwrap();
        assert_eq!((message.device, accepted.device), (device.key, device.key));
        assert_eq!(message.sequence, accepted.sequence);
        assert_eq!(message.properties, sent.properties);
        assert_eq!(message.body, sent.body);
        assert_eq!(message.ack, sent.ack);
        assert_eq!(Some(message.expiry), sent.expiry);
        assert_eq!(message.enqueued_at, noon());
        assert_eq!(message.delivery_count, 0);
        assert_eq!(locked.lock.until, noon() + SECOND + MINUTE);
        assert_eq!(message.state, MessageState::Invisible { lock: locked.lock });
    }
    assert!(received[0].message.sequence < received[1].message.sequence);
}

#[doc(hidden)]
pub async fn sequence_numbers_rise_and_are_not_used_again_after_the_queue_was_emptied(
    subject: Subject,
) {
    let device = subject.register("dev-1").await;
    let mut last = None;
    for _ in 0..3 {
        let accepted = subject.enqueue(a_message(), noon()).await.unwrap();
        assert!(last < Some(accepted.sequence));
        last = Some(accepted.sequence);
        let held = subject.receive(device.key, 1, noon()).await.remove(0);
        let settled = subject.settle(&held, Verdict::Complete, noon()).await;
        assert_eq!(settled, Ok(()));
        assert_eq!(subject.count(device.key, noon()).await, 0);
    }
}

#[doc(hidden)]
pub async fn a_message_to_an_unknown_or_disabled_device_is_refused_alone(subject: Subject) {
    subject.register("dev-1").await;
    let disabled = DeviceSpec {
        status: DeviceStatus::Disabled,
        ..a_device_spec()
    };
    let created = subject
        .registry
        .create(a_hub(), an_identity("off"), disabled, somebody(), noon())
        .await;
    created.unwrap().unwrap();

    let messages = ["nobody", "dev-1", "off"].map(|device| a_message_to(device, "hello"));
    let answers = subject.enqueue_all(messages.to_vec(), 50, noon()).await;

    let refused = |device: &str| Err(EnqueueError::DeviceNotFound(device.parse().unwrap()));
    assert_eq!(answers[0], refused("nobody"));
    assert!(answers[1].is_ok());
    assert_eq!(answers[2], refused("off"));
}

#[doc(hidden)]
pub async fn a_disabled_device_keeps_its_messages(subject: Subject) {
    let device = subject.register("dev-1").await;
    subject.enqueue(a_message(), noon()).await.unwrap();
    let disabled = DeviceSpec {
        status: DeviceStatus::Disabled,
        ..a_device_spec()
    };
    for (spec, is_accepted) in [(disabled, false), (a_device_spec(), true)] {
        let name = device.name.clone();
        let replaced = subject
            .registry
            .replace(a_hub(), name, spec, IfMatch::Any, somebody(), noon())
            .await;
        assert_eq!(replaced.unwrap().unwrap().key, device.key);
        let accepted = subject.enqueue(a_message(), noon()).await;
        assert_eq!(accepted.is_ok(), is_accepted);
    }
    assert_eq!(subject.count(device.key, noon()).await, 2);
}

#[doc(hidden)]
pub async fn a_message_without_an_expiry_in_the_future_is_refused(subject: Subject) {
    let device = subject.register("dev-1").await;
    let with_expiry = |expiry| NewMessage {
        expiry,
        ..a_message()
    };
    let messages = vec![
        with_expiry(None),
        with_expiry(Some(noon())),
        with_expiry(Some(noon() + Duration::from_millis(1))),
    ];
    let answers = subject.enqueue_all(messages, 50, noon()).await;
    assert_eq!(answers[0], Err(EnqueueError::InvalidExpiry));
    assert_eq!(answers[1], Err(EnqueueError::InvalidExpiry));
    assert!(answers[2].is_ok());
    assert_eq!(subject.count(device.key, noon()).await, 1);
}

#[doc(hidden)]
pub async fn a_full_queue_refuses_what_goes_beyond_its_depth(subject: Subject) {
    let device = subject.register("dev-1").await;
    subject.register("dev-2").await;
    let full = Err(EnqueueError::QueueFull {
        device: device.name.device.clone(),
        max_depth: 3,
    });

    let first = subject.enqueue_all(vec![a_message(); 5], 3, noon()).await;
    assert!(first[..3].iter().all(Result::is_ok));
    assert_eq!(first[3..], [full.clone(), full.clone()]);

    let messages = vec![a_message(), a_message_to("dev-2", "there is room here")];
    let second = subject.enqueue_all(messages, 3, noon()).await;
    assert_eq!(second[0], full);
    assert!(second[1].is_ok());
    assert_eq!(subject.count(device.key, noon()).await, 3);

    let third = subject.enqueue_all(vec![a_message()], 4, noon()).await;
    assert!(third[0].is_ok(), "a raised depth makes room");
}

#[doc(hidden)]
pub async fn held_messages_fill_a_queue_and_expired_ones_do_not(subject: Subject) {
    let device = subject.register("dev-1").await;
    let brief = NewMessage {
        expiry: Some(noon() + SECOND),
        ..a_message()
    };
    let messages = vec![a_message(), brief];
    let accepted = subject.enqueue_all(messages, 2, noon()).await;
    assert!(accepted.iter().all(Result::is_ok));
    assert_eq!(subject.receive(device.key, 2, noon()).await.len(), 2);

    let accepted = subject.enqueue_all(vec![a_message()], 2, noon()).await;
    assert!(accepted[0].is_err());

    let later = noon() + SECOND;
    let accepted = subject.enqueue_all(vec![a_message(); 2], 2, later).await;
    assert!(accepted[0].is_ok(), "the expired message made room");
    assert!(accepted[1].is_err());
}

#[doc(hidden)]
pub async fn a_settled_message_makes_room(subject: Subject) {
    let device = subject.register("dev-1").await;
    for verdict in [Verdict::Complete, Verdict::Reject] {
        let accepted = subject.enqueue_all(vec![a_message(); 2], 2, noon()).await;
        assert!(accepted.iter().all(Result::is_ok), "{accepted:?}");
        for held in subject.receive(device.key, 2, noon()).await {
            assert_eq!(subject.settle(&held, verdict, noon()).await, Ok(()));
        }
    }
}

#[doc(hidden)]
pub async fn messages_for_many_devices_keep_the_order_of_each(subject: Subject) {
    let first = subject.register("dev-1").await;
    let second = subject.register("dev-2").await;
    let messages = [
        ("dev-1", "a"),
        ("dev-2", "b"),
        ("dev-1", "c"),
        ("dev-2", "d"),
    ];
    let messages = messages.map(|(device, body)| a_message_to(device, body));
    subject.enqueue_all(messages.to_vec(), 50, noon()).await;
    subject
        .enqueue(a_message_to("dev-1", "e"), noon())
        .await
        .unwrap();

    let of_first = subject.receive(first.key, 10, noon()).await;
    let of_second = subject.receive(second.key, 10, noon()).await;
    assert_eq!(bodies(&of_first), ["a", "c", "e"]);
    assert_eq!(bodies(&of_second), ["b", "d"]);
}

#[doc(hidden)]
pub async fn as_many_messages_are_handed_out_as_there_are_tokens(subject: Subject) {
    let device = subject.register("dev-1").await;
    let messages = ["a", "b", "c", "d"].map(|body| a_message_to("dev-1", body));
    subject.enqueue_all(messages.to_vec(), 50, noon()).await;

    assert!(subject.receive(device.key, 0, noon()).await.is_empty());
    let request = subject.request(device.key, 3, noon());
    let tokens = request.tokens.clone();
    let received = subject
        .messages
        .receive(vec![request], queue_rules(), noon())
        .await
        .unwrap()
        .remove(0);
    assert_eq!(bodies(&received), ["a", "b", "c"]);
    let held: Vec<_> = received.iter().map(|locked| locked.lock.token).collect();
    assert_eq!(held, tokens);
}

#[doc(hidden)]
pub async fn held_messages_are_passed_over(subject: Subject) {
    let device = subject.register("dev-1").await;
    let messages = ["a", "b", "c"].map(|body| a_message_to("dev-1", body));
    subject.enqueue_all(messages.to_vec(), 50, noon()).await;
    for expected in ["a", "b", "c"] {
        let received = subject.receive(device.key, 1, noon()).await;
        assert_eq!(bodies(&received), [expected]);
    }
    assert!(subject.receive(device.key, 1, noon()).await.is_empty());
}

#[doc(hidden)]
pub async fn requests_are_answered_by_position(subject: Subject) {
    let first = subject.register("dev-1").await;
    let second = subject.register("dev-2").await;
    subject
        .enqueue(a_message_to("dev-2", "for two"), noon())
        .await
        .unwrap();
    let gone = DeviceKey(first.key.0 + second.key.0 + 1_000);
    let requests = [first.key, second.key, gone].map(|key| subject.request(key, 4, noon()));
    let answers = subject
        .messages
        .receive(requests.to_vec(), queue_rules(), noon())
        .await
        .unwrap();
    assert_eq!(answers.len(), 3);
    assert!(answers[0].is_empty());
    assert_eq!(bodies(&answers[1]), ["for two"]);
    assert!(answers[2].is_empty());
}

#[doc(hidden)]
pub async fn two_requests_for_one_device_share_its_messages(subject: Subject) {
    let device = subject.register("dev-1").await;
    let messages = ["a", "b", "c"].map(|body| a_message_to("dev-1", body));
    subject.enqueue_all(messages.to_vec(), 50, noon()).await;
    let requests = vec![
        subject.request(device.key, 2, noon()),
        subject.request(device.key, 2, noon()),
    ];
    let answers = subject
        .messages
        .receive(requests, queue_rules(), noon())
        .await
        .unwrap();
    assert_eq!(bodies(&answers[0]), ["a", "b"]);
    assert_eq!(bodies(&answers[1]), ["c"]);
}

#[doc(hidden)]
pub async fn an_expired_message_is_never_handed_out(subject: Subject) {
    let device = subject.register("dev-1").await;
    let brief = NewMessage {
        expiry: Some(noon() + SECOND),
        ..a_message_to("dev-1", "brief")
    };
    let messages = vec![brief, a_message_to("dev-1", "lasting")];
    subject.enqueue_all(messages, 50, noon()).await;
    let received = subject.receive(device.key, 1, noon() + SECOND).await;
    assert_eq!(bodies(&received), ["lasting"]);
}

#[doc(hidden)]
pub async fn a_lapsed_lock_returns_the_message_to_its_place(subject: Subject) {
    let device = subject.register("dev-1").await;
    let messages = ["a", "b"].map(|body| a_message_to("dev-1", body));
    subject.enqueue_all(messages.to_vec(), 50, noon()).await;
    let first = subject.receive(device.key, 1, noon()).await.remove(0);

    let just_before = first.lock.until - Duration::from_millis(1);
    let received = subject.receive(device.key, 1, just_before).await;
    assert_eq!(bodies(&received), ["b"]);
    let again = subject.receive(device.key, 2, first.lock.until).await;
    assert_eq!(again.len(), 1);
    assert_eq!(body(&again[0].message), "a");
    assert_eq!(again[0].message.sequence, first.message.sequence);
    assert_eq!(again[0].message.delivery_count, 1);
    assert_ne!(again[0].lock.token, first.lock.token);
}

#[doc(hidden)]
pub async fn waiting_messages_are_counted_held_or_not(subject: Subject) {
    let first = subject.register("dev-1").await;
    let second = subject.register("dev-2").await;
    let brief = NewMessage {
        expiry: Some(noon() + SECOND),
        ..a_message()
    };
    subject
        .enqueue_all(vec![brief, a_message(), a_message()], 50, noon())
        .await;
    subject.receive(first.key, 1, noon()).await;
    let devices = vec![second.key, first.key, DeviceKey(0)];
    let counts = subject.messages.count(devices.clone(), noon()).await;
    assert_eq!(counts.unwrap(), [0, 3, 0]);
    let counts = subject.messages.count(devices, noon() + SECOND).await;
    assert_eq!(counts.unwrap(), [0, 2, 0]);
}

#[doc(hidden)]
pub async fn hubs_do_not_share_devices(subject: Subject) {
    subject.register("dev-1").await;
    let elsewhere = NewMessage {
        hub: "other.downlink.test".parse().unwrap(),
        ..a_message()
    };
    let answer = subject.enqueue(elsewhere, noon()).await;
    assert!(matches!(answer, Err(EnqueueError::DeviceNotFound(_))));
}

#[doc(hidden)]
pub async fn large_batches_are_taken_whole(subject: Subject) {
    let device = subject.register("dev-1").await;
    let accepted = subject
        .enqueue_all(vec![a_message(); 1_000], 10_000, noon())
        .await;
    let sequences: Vec<_> = accepted.iter().flatten().map(|a| a.sequence).collect();
    assert_eq!(sequences.len(), 1_000);
    assert!(sequences.is_sorted());

    let received = subject.receive(device.key, 700, noon()).await;
    let received: Vec<_> = received.iter().map(|held| held.message.sequence).collect();
    assert_eq!(received, sequences[..700]);
    assert_eq!(subject.count(device.key, noon()).await, 1_000);
}
