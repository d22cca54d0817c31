//! Pipelined sends.

use std::collections::HashMap;

use async_trait::async_trait;
use downlink_domain::access::Actor;
use downlink_domain::event::Event;
use downlink_domain::id::{DeviceId, DeviceKey, HubName, LockToken, SequenceNumber};
use downlink_domain::message::feedback::FeedbackBatch;
use downlink_domain::message::{NewMessage, Settlement, Verdict};
use downlink_ports::{
    EnqueueError, Enqueued, LockedMessage, PeerError, PurgeOutcome, QueueApi, ReceiveCall,
    SettleError,
};
use futures::channel::mpsc;
use futures::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::*;

/// A queue without an end that notes what it takes, once it may.
struct Ledger {
    taken: Mutex<Vec<(DeviceId, String)>>,
    /// Calls that may be answered.
    may_answer: Semaphore,
}

impl Ledger {
    fn new(calls: usize) -> Arc<Self> {
        Arc::new(Self {
            taken: Mutex::default(),
            may_answer: Semaphore::new(calls),
        })
    }
}

#[async_trait]
impl QueueApi for Ledger {
    async fn enqueue(
        &self,
        messages: Vec<NewMessage>,
    ) -> Result<Vec<Result<Enqueued, EnqueueError>>, PeerError> {
        assert!(messages.len() <= 500);
        self.may_answer.acquire().await.unwrap().forget();
        let mut taken = self.taken.lock();
        let accept = |message: NewMessage| {
            let id = message.properties.message_id.unwrap();
            taken.push((message.device, id));
            Ok(Enqueued {
                device: DeviceKey(1),
                sequence: SequenceNumber(1),
            })
        };
        Ok(messages.into_iter().map(accept).collect())
    }

    async fn receive(&self, _: Vec<ReceiveCall>) -> Result<Vec<Vec<LockedMessage>>, PeerError> {
        unreachable!()
    }

    async fn settle(&self, _: Vec<Settlement>) -> Result<Vec<Result<(), SettleError>>, PeerError> {
        unreachable!()
    }

    async fn record_events(&self, _: Vec<Event>) -> Result<(), PeerError> {
        unreachable!()
    }

    async fn purge(&self, _: HubName, _: DeviceId, _: Actor) -> Result<PurgeOutcome, PeerError> {
        unreachable!()
    }

    async fn count(&self, _: Vec<DeviceKey>) -> Result<Vec<u64>, PeerError> {
        unreachable!()
    }

    async fn receive_feedback(
        &self,
        _: HubName,
        _: Duration,
    ) -> Result<Option<FeedbackBatch>, PeerError> {
        unreachable!()
    }

    async fn settle_feedback(
        &self,
        _: HubName,
        _: LockToken,
        _: Verdict,
    ) -> Result<Result<(), SettleError>, PeerError> {
        unreachable!()
    }
}

fn one(id: u64, device: &str) -> v1::SendStreamRequest {
    v1::SendStreamRequest {
        messages: vec![v1::StreamedMessage {
            id,
            message: Some(message(device, &format!("{id:06}"))),
        }],
    }
}

async fn site_with(ledger: &Arc<Ledger>) -> Site {
    let queue = Arc::clone(ledger) as Arc<dyn QueueApi>;
    Site::of(TestHub::with_peers(|peers| peers.queue = queue).await)
}

#[tokio::test]
async fn ten_thousand_pipelined_sends_are_stored_in_order_per_device_and_answered_by_id() {
    const SENDS: u64 = 10_000;
    let ledger = Ledger::new(Semaphore::MAX_PERMITS);
    let site = site_with(&ledger).await;
    let requests = futures::stream::iter(0..SENDS);
    let requests = requests.map(|id| one(id, &format!("dev-{}", id % 7)));
    let mut commands = site.with("service").await.commands();
    let mut answers = commands.send_stream(requests).await.unwrap().into_inner();
    let mut answered = Vec::new();
    while let Some(answer) = soon(answers.message()).await.unwrap() {
        for result in answer.results {
            assert_eq!(result.failure, None);
            answered.push(result.id);
        }
    }
    assert!(answered.into_iter().eq(0..SENDS));
    let mut by_device: HashMap<DeviceId, Vec<String>> = HashMap::new();
    for (device, id) in ledger.taken.lock().drain(..) {
        by_device.entry(device).or_default().push(id);
    }
    assert_eq!(by_device.len(), 7);
    assert!(by_device.values().all(|ids| ids.is_sorted()));
    let total: usize = by_device.values().map(Vec::len).sum();
    assert_eq!(total, usize::try_from(SENDS).unwrap());
}

#[tokio::test]
async fn answers_wait_for_the_store_and_refusals_keep_their_place() {
    let ledger = Ledger::new(0);
    let site = site_with(&ledger).await;
    let (mut requests, source) = mpsc::channel(4);
    let mut commands = site.with("service").await.commands();
    let mut answers = commands.send_stream(source).await.unwrap().into_inner();
    let messages = vec![
        one(7, "dev-1").messages.remove(0),
        one(8, "a b").messages.remove(0),
        one(9, "dev-1").messages.remove(0),
    ];
    requests
        .send(v1::SendStreamRequest { messages })
        .await
        .unwrap();
    let early = tokio::time::timeout(Duration::from_millis(200), answers.message()).await;
    assert!(early.is_err(), "nothing is on disk yet");
    ledger.may_answer.add_permits(10);
    let results = soon(answers.message()).await.unwrap().unwrap().results;
    let codes = results
        .iter()
        .map(|result| (result.id, result.failure.as_ref().map(|why| why.code)));
    let expected = [(7, None), (8, Some(400_004)), (9, None)];
    assert_eq!(codes.collect::<Vec<_>>(), expected);
    drop(requests);
    assert_eq!(soon(answers.message()).await.unwrap(), None);
}

#[tokio::test]
async fn nothing_is_read_while_too_much_has_no_answer() {
    let ledger = Ledger::new(0);
    let site = site_with(&ledger).await;
    // Far more than the bounds of the stream and of HTTP/2 hold together.
    let large = |id| {
        let mut request = one(id, "dev-1");
        request.messages[0].message.as_mut().unwrap().body = vec![0; 256 * 1024].into();
        request
    };
    let pulled = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counter = Arc::clone(&pulled);
    let requests = futures::stream::iter(0..400_u64).map(move |id| {
        counter.store(id + 1, std::sync::atomic::Ordering::SeqCst);
        large(id)
    });
    let back = site.with("service").await;
    let mut commands = back.commands();
    let mut answers = commands.send_stream(requests).await.unwrap().into_inner();
    let early = tokio::time::timeout(Duration::from_secs(1), answers.message()).await;
    assert!(early.is_err());
    let held = pulled.load(std::sync::atomic::Ordering::SeqCst);
    assert!(held < 80, "{held} of 400 messages of 256 KiB were read");
    // Another call on the same connection is not held up.
    let request = v1::GetTwinRequest {
        device_id: "nobody".to_owned(),
    };
    let other = soon(back.twins().get(request)).await;
    let expected = refused(Code::NotFound, ErrorCode::DeviceNotFound);
    assert_eq!(refusal(other), expected);
    ledger.may_answer.add_permits(1000);
    let mut answered = 0;
    while let Some(answer) = soon(answers.message()).await.unwrap() {
        answered += answer.results.len();
    }
    assert_eq!(answered, 400);
}

#[tokio::test]
async fn a_request_with_too_many_messages_ends_the_stream_after_what_came_before() {
    let ledger = Ledger::new(10);
    let site = site_with(&ledger).await;
    let mut many = one(2, "dev-1");
    many.messages = vec![many.messages.remove(0); 501];
    let requests = futures::stream::iter([one(1, "dev-1"), many, one(3, "dev-1")]);
    let mut commands = site.with("service").await.commands();
    let mut answers = commands.send_stream(requests).await.unwrap().into_inner();
    let first = soon(answers.message()).await.unwrap().unwrap();
    assert_eq!(first.results[0].id, 1);
    let expected = refused(Code::InvalidArgument, ErrorCode::ArgumentInvalid);
    assert_eq!(refusal(soon(answers.message()).await), expected);
    assert_eq!(ledger.taken.lock().len(), 1);
}

#[tokio::test]
async fn a_drain_answers_what_was_taken_and_ends_the_stream_as_unavailable() {
    let ledger = Ledger::new(0);
    let site = site_with(&ledger).await;
    let (mut requests, source) = mpsc::channel(4);
    let mut commands = site.with("service").await.commands();
    let mut answers = commands.send_stream(source).await.unwrap().into_inner();
    requests.send(one(1, "dev-1")).await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(200), answers.message()).await;
    assert!(early.is_err());
    let lifecycle = site.hub.shared.lifecycle.clone();
    let draining = lifecycle.shutdown(Duration::from_secs(20));
    let rest = async {
        lifecycle.draining().await;
        ledger.may_answer.add_permits(1);
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!(answer.results[0].failure, None);
        let expected = refused(Code::Unavailable, ErrorCode::ServiceUnavailable);
        assert_eq!(refusal(answers.message().await), expected);
    };
    let (drained, ()) = soon(async { tokio::join!(draining, rest) }).await;
    assert_eq!(drained, downlink_runtime::Shutdown::Drained);
}

#[tokio::test]
async fn a_stream_ends_when_its_token_and_the_grace_have_run_out() {
    let ledger = Ledger::new(10);
    let site = site_with(&ledger).await;
    let (mut requests, source) = mpsc::channel(4);
    let mut commands = site.with("service").await.commands();
    let mut answers = commands.send_stream(source).await.unwrap().into_inner();
    // The token lasts an hour, the grace five minutes.
    site.hub.clock.advance(Duration::from_secs(3600 + 299));
    requests.send(one(1, "dev-1")).await.unwrap();
    let answer = soon(answers.message()).await.unwrap().unwrap();
    assert_eq!(answer.results[0].failure, None);
    site.hub.clock.advance(Duration::from_secs(2));
    let expected = refused(Code::Unauthenticated, ErrorCode::IotHubUnauthorized);
    assert_eq!(refusal(soon(answers.message()).await), expected);
    let rpcs = &site.hub.shared.metrics.rpcs;
    assert_eq!(rpcs.count(Rpc::SendStream, Code::Unauthenticated), 1);
}

#[tokio::test]
async fn a_stream_does_not_outlive_its_callers_deadline() {
    let ledger = Ledger::new(0);
    let site = site_with(&ledger).await;
    let (mut requests, source) = mpsc::channel(4);
    let mut request = Request::new(source);
    request.set_timeout(Duration::from_millis(300));
    let mut commands = site.with("service").await.commands();
    let mut answers = commands.send_stream(request).await.unwrap().into_inner();
    requests.send(one(1, "dev-1")).await.unwrap();
    let ended = soon(answers.message()).await;
    assert!(matches!(
        ended.unwrap_err().code(),
        Code::DeadlineExceeded | Code::Cancelled
    ));
    assert!(ledger.taken.lock().is_empty());
}
