use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use downlink_domain::ErrorCode;
use downlink_domain::access::Actor;
use downlink_domain::event::{Event, EventKind};
use downlink_domain::id::{DeviceId, DeviceKey, GenerationId, HubName, LockToken, SequenceNumber};
use downlink_domain::message::feedback::{FeedbackBatch, FeedbackRecord, FeedbackStatus};
use downlink_domain::message::{
    AckMode, Lock, Message, MessageState, NewMessage, Properties, Settlement, Verdict,
};
use downlink_ports::{
    EnqueueError, Enqueued, LockedMessage, PeerError, PurgeOutcome, QueueApi, ReceiveCall,
    SettleError,
};
use downlink_runtime::Lifecycle;
use parking_lot::Mutex;

use crate::testing::{at, hub};
use crate::{GrpcQueueClient, MuxOptions, Services, in_process};

#[derive(Clone, Debug, PartialEq)]
enum Asked {
    Enqueue(Vec<NewMessage>),
    Receive(Vec<ReceiveCall>),
    Settle(Vec<Settlement>),
    RecordEvents(Vec<Event>),
    Purge(HubName, DeviceId, Actor),
    Count(Vec<DeviceKey>),
    ReceiveFeedback(HubName, Duration),
    SettleFeedback(HubName, LockToken, Verdict),
}

/// Keeps what it was asked; answers what the questions make it answer.
#[derive(Default)]
struct Recorder {
    asked: Mutex<Vec<Asked>>,
}

impl Recorder {
    fn note(&self, asked: Asked) {
        self.asked.lock().push(asked);
    }

    #[track_caller]
    fn take(&self) -> Asked {
        let mut asked = self.asked.lock();
        assert_eq!(asked.len(), 1);
        asked.remove(0)
    }
}

fn sequence_of(message: &NewMessage) -> u64 {
    message
        .properties
        .message_id
        .as_ref()
        .unwrap()
        .parse()
        .unwrap()
}

/// Refuses by sequence, so that each refusal is asked for.
fn accept(message: &NewMessage) -> Result<Enqueued, EnqueueError> {
    let device = message.device.clone();
    match sequence_of(message) {
        101 => Err(EnqueueError::DeviceNotFound(device)),
        102 => Err(EnqueueError::QueueFull {
            device,
            max_depth: 50,
        }),
        103 => Err(EnqueueError::TooLarge {
            bytes: 70_000,
            max_bytes: 65_536,
        }),
        104 => Err(EnqueueError::InvalidExpiry),
        105 => Err(EnqueueError::InvalidProperty("no such id".to_owned())),
        106 => Err(EnqueueError::Unavailable),
        sequence => Ok(Enqueued {
            device: DeviceKey(1),
            sequence: SequenceNumber(sequence),
        }),
    }
}

const BIG_BODY: usize = 60_000;

fn held(device: DeviceKey, sequence: u64) -> LockedMessage {
    let lock = Lock {
        token: LockToken([u8::try_from(sequence % 251).unwrap(); 16]),
        until: at(60_000),
    };
    let message = Message {
        device,
        sequence: SequenceNumber(sequence),
        enqueued_at: at(-5),
        expiry: at(99),
        delivery_count: 3,
        ack: AckMode::Full,
        properties: properties(sequence),
        body: Bytes::from(vec![7; BIG_BODY]),
        state: MessageState::Invisible { lock },
    };
    LockedMessage { message, lock }
}

fn properties(id: u64) -> Properties {
    Properties {
        message_id: Some(id.to_string()),
        correlation_id: Some(String::new()),
        to: Some("/devices/boiler-7/messages/devicebound".to_owned()),
        user_id: None,
        content_type: Some("application/json".to_owned()),
        content_encoding: Some("utf-8".to_owned()),
        expiry: Some(downlink_domain::Timestamp::from_millis(7)),
        application: vec![
            ("z".to_owned(), "ä".to_owned()),
            ("a".to_owned(), String::new()),
            ("z".to_owned(), "again".to_owned()),
        ],
    }
}

fn message(id: u64) -> NewMessage {
    NewMessage {
        hub: hub(),
        device: format!("boiler-{}", id % 5).parse().unwrap(),
        properties: properties(id),
        ack: [
            AckMode::None,
            AckMode::Positive,
            AckMode::Negative,
            AckMode::Full,
        ][usize::try_from(id % 4).unwrap()],
        expiry: id.is_multiple_of(2).then(|| at(1)),
        body: Bytes::from_static(b"body"),
    }
}

fn batch() -> FeedbackBatch {
    let record = |status| FeedbackRecord {
        hub: hub(),
        device_key: DeviceKey(4),
        device: "boiler-7".parse().unwrap(),
        generation: GenerationId(635_882_578_140_000_000),
        original_message_id: Some("m-1".to_owned()),
        at: at(2),
        status,
    };
    FeedbackBatch {
        token: LockToken([9; 16]),
        locked_until: at(60_000),
        enqueued_at: at(3),
        delivery_count: 1,
        records: [
            FeedbackStatus::Success,
            FeedbackStatus::Expired,
            FeedbackStatus::DeliveryCountExceeded,
            FeedbackStatus::Rejected,
            FeedbackStatus::Purged,
        ]
        .map(record)
        .to_vec(),
    }
}

#[async_trait]
impl QueueApi for Recorder {
    async fn enqueue(
        &self,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<Result<Enqueued, EnqueueError>>, PeerError> {
        if messages.iter().any(|message| sequence_of(message) == 13) {
            return Err(PeerError::Unavailable { service: "store" });
        }
        let results = messages.iter().map(accept).collect();
        self.note(Asked::Enqueue(messages));
        Ok(results)
    }

    async fn receive(&self, calls: Vec<ReceiveCall>) -> Result<Vec<Vec<LockedMessage>>, PeerError> {
        let some = |call: &ReceiveCall| {
            let limit = u64::from(call.limit);
            let count = if call.device.0 == 0 { 0 } else { limit };
            (0..count)
                .map(|sequence| held(call.device, sequence))
                .collect()
        };
        let held = calls.iter().map(some).collect();
        self.note(Asked::Receive(calls));
        Ok(held)
    }

    async fn settle(
        &self,
        settlements: Vec<Settlement>,
    ) -> Result<Vec<Result<(), SettleError>>, PeerError> {
        let results = settlements
            .iter()
            .map(|settlement| match settlement.sequence.0 % 3 {
                0 => Err(SettleError::LockLost),
                _ => Ok(()),
            })
            .collect();
        self.note(Asked::Settle(settlements));
        Ok(results)
    }

    async fn record_events(&self, events: Vec<Event>) -> Result<(), PeerError> {
        self.note(Asked::RecordEvents(events));
        Ok(())
    }

    async fn purge(
        &self,
        hub: HubName,
        device: DeviceId,
        by: Actor,
    ) -> Result<PurgeOutcome, PeerError> {
        self.note(Asked::Purge(hub, device.clone(), by));
        if device.as_str() == "boiler-7" {
            return Ok(PurgeOutcome { removed: 42 });
        }
        Err(PeerError::refused(
            ErrorCode::DeviceNotFound,
            &"no such device",
        ))
    }

    async fn count(&self, devices: Vec<DeviceKey>) -> Result<Vec<u64>, PeerError> {
        let counts = devices.iter().map(|key| key.0.unsigned_abs()).collect();
        self.note(Asked::Count(devices));
        Ok(counts)
    }

    async fn receive_feedback(
        &self,
        hub: HubName,
        wait: Duration,
    ) -> Result<Option<FeedbackBatch>, PeerError> {
        self.note(Asked::ReceiveFeedback(hub, wait));
        Ok((wait != Duration::ZERO).then(batch))
    }

    async fn settle_feedback(
        &self,
        hub: HubName,
        token: LockToken,
        verdict: Verdict,
    ) -> Result<Result<(), SettleError>, PeerError> {
        self.note(Asked::SettleFeedback(hub, token, verdict));
        Ok(match verdict {
            Verdict::Complete => Ok(()),
            _ => Err(SettleError::LockLost),
        })
    }
}

fn connected(lanes: usize) -> (Arc<Recorder>, GrpcQueueClient) {
    let recorder = Arc::new(Recorder::default());
    let lifecycle = Lifecycle::new();
    let (endpoint, acceptor) = in_process();
    Services::new(&lifecycle)
        .with_queue(recorder.clone())
        .serve(acceptor);
    let options = MuxOptions {
        lanes,
        ..MuxOptions::default()
    };
    let client = GrpcQueueClient::new(&endpoint, options, &lifecycle);
    (recorder, client)
}

#[tokio::test]
async fn messages_arrive_as_they_were_sent_and_every_result_comes_back() {
    let (recorder, queue) = connected(1);
    let messages: Vec<_> = (98..108).map(message).collect();
    let results = queue.enqueue(messages.clone()).await.unwrap();
    assert_eq!(results, messages.iter().map(accept).collect::<Vec<_>>());
    assert_eq!(recorder.take(), Asked::Enqueue(messages));
}

#[tokio::test]
async fn a_call_without_items_is_answered_without_the_service() {
    let (recorder, queue) = connected(1);
    assert_eq!(queue.enqueue(Vec::new()).await, Ok(Vec::new()));
    assert_eq!(queue.settle(Vec::new()).await, Ok(Vec::new()));
    assert_eq!(*recorder.asked.lock(), []);
}

#[tokio::test]
async fn a_batch_above_the_frame_limit_is_split_and_keeps_its_order() {
    let (recorder, queue) = connected(1);
    let body = Bytes::from(vec![1; BIG_BODY]);
    let messages: Vec<_> = (1000..1300)
        .map(|id| NewMessage {
            body: body.clone(),
            ..message(id)
        })
        .collect();
    let total: usize = messages.iter().map(NewMessage::counted_bytes).sum();
    assert!(total > 2 * crate::MAX_FRAME_BYTES);
    let results = queue.enqueue(messages.clone()).await.unwrap();
    let sequences: Vec<_> = results.into_iter().map(|r| r.unwrap().sequence.0).collect();
    assert_eq!(sequences, (1000..1300).collect::<Vec<_>>());
    let asked = std::mem::take(&mut *recorder.asked.lock());
    let mut arrived = Vec::new();
    for asked in asked {
        let Asked::Enqueue(messages) = asked else {
            panic!("only messages were sent");
        };
        arrived.extend(messages);
    }
    assert!(arrived == messages, "same messages in the same order");
}

#[tokio::test]
async fn lanes_do_not_mix_up_positions() {
    let (recorder, queue) = connected(4);
    let messages: Vec<_> = (98..148).map(message).collect();
    let results = queue.enqueue(messages.clone()).await.unwrap();
    assert_eq!(results, messages.iter().map(accept).collect::<Vec<_>>());
    assert!(
        recorder.asked.lock().len() > 1,
        "more than one lane was used"
    );

    let call = |key| ReceiveCall {
        device: DeviceKey(key),
        limit: 1,
        lock_duration: None,
    };
    let received = queue.receive((0..50).map(call).collect()).await.unwrap();
    for (key, messages) in (0..50).zip(&received) {
        let expected: Vec<_> = (key != 0)
            .then(|| held(DeviceKey(key), 0))
            .into_iter()
            .collect();
        assert_eq!(*messages, expected);
    }
}

#[tokio::test]
async fn a_call_that_fails_is_told_of_its_own_messages_alone() {
    let (_recorder, queue) = connected(1);
    // Two calls on the way: together they are larger than one may be.
    let messages: Vec<_> = [1, 13]
        .into_iter()
        .map(|id| NewMessage {
            body: Bytes::from(vec![7; 600_000]),
            ..message(id)
        })
        .collect();
    let results = queue.enqueue(messages.clone()).await.unwrap();
    let expected = [accept(&messages[0]), Err(EnqueueError::Unavailable)];
    assert_eq!(results, expected);
    let alone = queue.enqueue(messages[1..].to_vec()).await;
    assert_eq!(alone, Err(PeerError::Unavailable { service: "queue" }));
}

#[tokio::test]
async fn received_messages_come_back_whole_though_the_reply_is_larger_than_a_frame() {
    let (recorder, queue) = connected(1);
    let call = |key, limit, millis: Option<u64>| ReceiveCall {
        device: DeviceKey(key),
        limit,
        lock_duration: millis.map(Duration::from_millis),
    };
    let calls = vec![
        call(7, 100, Some(1500)),
        call(0, 1, None),
        call(8, 90, None),
    ];
    let received = queue.receive(calls.clone()).await.unwrap();
    let expect = |key, count| -> Vec<_> { (0..count).map(|n| held(DeviceKey(key), n)).collect() };
    const { assert!(190 * BIG_BODY > crate::MAX_FRAME_BYTES) };
    let expected = vec![expect(7, 100), Vec::new(), expect(8, 90)];
    assert!(received == expected, "all messages, in order, by position");
    assert_eq!(recorder.take(), Asked::Receive(calls));
}

#[tokio::test]
async fn settlements_arrive_with_every_verdict_and_lost_locks_are_told_by_position() {
    let (recorder, queue) = connected(1);
    let verdicts = [
        Verdict::Complete,
        Verdict::Abandon,
        Verdict::Reject,
        Verdict::ReleaseDelivered,
        Verdict::ReleaseUndelivered,
    ];
    let settlements: Vec<_> = (1_u8..)
        .zip(verdicts)
        .map(|(sequence, verdict)| Settlement {
            device: DeviceKey(7),
            sequence: SequenceNumber(sequence.into()),
            token: LockToken([sequence; 16]),
            verdict,
        })
        .collect();
    let results = queue.settle(settlements.clone()).await.unwrap();
    let lost = Err(SettleError::LockLost);
    assert_eq!(results, [Ok(()), Ok(()), lost, Ok(()), Ok(())]);
    assert_eq!(recorder.take(), Asked::Settle(settlements));
}

#[tokio::test]
async fn events_of_every_kind_arrive_as_they_were_sent() {
    let (recorder, queue) = connected(1);
    let events: Vec<_> = (0_u8..)
        .zip(EventKind::ALL)
        .map(|(n, kind)| Event {
            id: [n; 16],
            hub: hub(),
            device_key: DeviceKey(n.into()),
            device: (n > 0).then(|| "boiler-7".parse().unwrap()),
            module: (n == 1).then(|| "probe".parse().unwrap()),
            kind,
            at: at(n.into()),
            properties: vec![
                ("b".to_owned(), "1".to_owned()),
                ("a".to_owned(), "2".to_owned()),
            ],
            body: Bytes::from(vec![n; 100]),
        })
        .collect();
    assert_eq!(queue.record_events(events.clone()).await, Ok(()));
    assert_eq!(recorder.take(), Asked::RecordEvents(events));
}

#[tokio::test]
async fn purge_tells_what_it_removed_or_why_it_refused() {
    let (recorder, queue) = connected(1);
    let known: DeviceId = "boiler-7".parse().unwrap();
    let purged = queue.purge(hub(), known.clone(), Actor::operator()).await;
    assert_eq!(purged, Ok(PurgeOutcome { removed: 42 }));
    assert_eq!(
        recorder.take(),
        Asked::Purge(hub(), known, Actor::operator())
    );
    let refused = queue
        .purge(hub(), "other".parse().unwrap(), Actor::operator())
        .await
        .unwrap_err();
    assert_eq!(refused.code(), ErrorCode::DeviceNotFound);
    assert_eq!(refused.to_string(), "no such device");
}

#[tokio::test]
async fn counts_come_back_by_position() {
    let (recorder, queue) = connected(1);
    let devices: Vec<_> = [5, -3, 0].map(DeviceKey).to_vec();
    assert_eq!(queue.count(devices.clone()).await, Ok(vec![5, 3, 0]));
    assert_eq!(recorder.take(), Asked::Count(devices));
}

#[tokio::test]
async fn a_feedback_batch_comes_back_with_every_status_or_not_at_all() {
    let (recorder, queue) = connected(1);
    let wait = Duration::from_millis(1234);
    assert_eq!(queue.receive_feedback(hub(), wait).await, Ok(Some(batch())));
    assert_eq!(recorder.take(), Asked::ReceiveFeedback(hub(), wait));
    assert_eq!(
        queue.receive_feedback(hub(), Duration::ZERO).await,
        Ok(None)
    );
}

#[tokio::test]
async fn settling_feedback_tells_a_lost_lock() {
    let (recorder, queue) = connected(1);
    let token = LockToken([3; 16]);
    let settled = queue.settle_feedback(hub(), token, Verdict::Complete).await;
    assert_eq!(settled, Ok(Ok(())));
    assert_eq!(
        recorder.take(),
        Asked::SettleFeedback(hub(), token, Verdict::Complete)
    );
    let settled = queue.settle_feedback(hub(), token, Verdict::Abandon).await;
    assert_eq!(settled, Ok(Err(SettleError::LockLost)));
}
