//! c2d.md §6.

use downlink_domain::id::{DeviceId, DeviceKey};
use downlink_domain::message::{Settlement, Verdict};
use downlink_ports::{QueueApi, TwinApi};
use futures::SinkExt;
use futures::channel::mpsc;
use tonic::Streaming;

use super::*;
use crate::grpc::tests::sends::waiting;

/// A receiver of feedback.
struct Receiver {
    requests: mpsc::Sender<v1::ReceiveRequest>,
    answers: Streaming<v1::ReceiveResponse>,
}

impl Receiver {
    async fn new(back: &Back) -> Self {
        let (requests, source) = mpsc::channel(4);
        let answers = back.feedback().receive(source).await.unwrap().into_inner();
        Self { requests, answers }
    }

    async fn ask(&mut self, credit: u32, words: Vec<v1::Acknowledgement>) {
        let request = v1::ReceiveRequest {
            credit,
            acknowledgements: words,
        };
        self.requests.send(request).await.unwrap();
    }

    async fn response(&mut self) -> v1::receive_response::Response {
        let answer = soon(self.answers.message()).await.unwrap().unwrap();
        answer.response.unwrap()
    }

    async fn batch(&mut self) -> v1::FeedbackBatch {
        match self.response().await {
            v1::receive_response::Response::Batch(batch) => batch,
            other @ v1::receive_response::Response::Acknowledged(_) => panic!("{other:?}"),
        }
    }

    async fn acknowledged(&mut self) -> v1::Acknowledged {
        match self.response().await {
            v1::receive_response::Response::Acknowledged(acknowledged) => acknowledged,
            other @ v1::receive_response::Response::Batch(_) => panic!("{other:?}"),
        }
    }

    async fn hears_nothing(&mut self) {
        let waited = Duration::from_millis(200);
        let early = tokio::time::timeout(waited, self.answers.message()).await;
        assert!(early.is_err(), "{early:?}");
    }
}

fn word(token: &[u8], verdict: v1::Verdict) -> Vec<v1::Acknowledgement> {
    vec![v1::Acknowledgement {
        token: token.to_vec().into(),
        verdict: verdict.into(),
    }]
}

async fn key_of(hub: &TestHub) -> DeviceKey {
    let (name, id) = (hub.shared.options.hub.clone(), "dev-1".parse::<DeviceId>());
    let found = hub.backend.find_device(name, id.unwrap().into()).await;
    found.unwrap().unwrap().key
}

/// Sends a message to `dev-1` and lets the device complete it.
async fn report(site: &Site, back: &Back, id: &str) {
    let hub = &site.hub;
    let request = v1::SendRequest {
        message: Some(message("dev-1", id)),
    };
    back.commands().send(request).await.unwrap();
    let device = key_of(hub).await;
    let locked = waiting(hub, device).await.remove(0);
    let settlement = Settlement {
        device,
        sequence: locked.message.sequence,
        token: locked.lock.token,
        verdict: Verdict::Complete,
    };
    hub.backend.settle(vec![settlement]).await.unwrap();
}

async fn site_with_feedback() -> (Site, Back) {
    let site = Site::new().await;
    site.hub.device("dev-1").await;
    let back = site.with("service").await;
    report(&site, &back, "cmd-1").await;
    (site, back)
}

#[tokio::test]
async fn a_batch_comes_for_credit_and_goes_with_its_word() {
    let (site, back) = site_with_feedback().await;
    let mut receiver = Receiver::new(&back).await;
    receiver.hears_nothing().await;
    receiver.ask(1, vec![]).await;
    let batch = receiver.batch().await;
    let record = &batch.records[0];
    assert_eq!(record.original_message_id.as_deref(), Some("cmd-1"));
    assert_eq!(record.device_id, "dev-1");
    assert_eq!(record.status(), v1::FeedbackStatus::Success);
    assert_eq!((batch.token.len(), batch.delivery_count), (16, 0));
    assert!(batch.locked_until > batch.enqueued_at);

    // One credit was one batch.
    report(&site, &back, "cmd-2").await;
    receiver.hears_nothing().await;
    receiver
        .ask(1, word(&batch.token, v1::Verdict::Complete))
        .await;
    let mut others = Vec::new();
    for _ in 0..2 {
        match receiver.response().await {
            v1::receive_response::Response::Acknowledged(acknowledged) => {
                assert_eq!(acknowledged.token, batch.token);
                assert_eq!(acknowledged.failure, None);
            }
            v1::receive_response::Response::Batch(batch) => others.push(batch),
        }
    }
    let record = &others[0].records[0];
    assert_eq!(record.original_message_id.as_deref(), Some("cmd-2"));
    drop(receiver.requests);
    assert_eq!(soon(receiver.answers.message()).await.unwrap(), None);
}

#[tokio::test]
async fn an_abandoned_batch_comes_again_and_a_rejected_one_never() {
    let (_site, back) = site_with_feedback().await;
    let mut receiver = Receiver::new(&back).await;
    receiver.ask(1, vec![]).await;
    let batch = receiver.batch().await;
    receiver
        .ask(0, word(&batch.token, v1::Verdict::Abandon))
        .await;
    assert_eq!(receiver.acknowledged().await.failure, None);
    receiver.ask(1, vec![]).await;
    let again = receiver.batch().await;
    assert_eq!(again.records, batch.records);
    assert_ne!(again.token, batch.token);
    receiver
        .ask(0, word(&again.token, v1::Verdict::Reject))
        .await;
    assert_eq!(receiver.acknowledged().await.failure, None);
    receiver.ask(1, vec![]).await;
    receiver.hears_nothing().await;
}

#[tokio::test]
async fn what_has_no_word_is_given_back_at_once_however_the_stream_ends() {
    let (site, back) = site_with_feedback().await;
    let ends: [fn(Receiver, Back) -> Option<Receiver>; 3] = [
        // Its caller ends it in order.
        |receiver, _| {
            let Receiver { requests, answers } = receiver;
            drop(requests);
            let (requests, _) = mpsc::channel(1);
            Some(Receiver { requests, answers })
        },
        // Its caller gives it up.
        |_, _| None,
        // Its connection breaks.
        |receiver, back| {
            drop(back);
            drop(receiver);
            None
        },
    ];
    for end in ends {
        let back = site.with("service").await;
        let mut receiver = Receiver::new(&back).await;
        receiver.ask(5, vec![]).await;
        receiver.batch().await;
        let _rest = end(receiver, back);
        let back = site.with("service").await;
        let mut next = Receiver::new(&back).await;
        next.ask(1, vec![]).await;
        // The clock stands still: no lock has lapsed.
        let batch = next.batch().await;
        assert_eq!(
            batch.records[0].original_message_id.as_deref(),
            Some("cmd-1")
        );
    }
    drop(back);
}

#[tokio::test]
async fn a_word_after_the_lock_was_lost_is_told_so() {
    let (site, back) = site_with_feedback().await;
    let mut receiver = Receiver::new(&back).await;
    receiver.ask(1, vec![]).await;
    let batch = receiver.batch().await;
    site.hub.clock.advance(Duration::from_secs(61));
    receiver
        .ask(0, word(&batch.token, v1::Verdict::Complete))
        .await;
    let failure = receiver.acknowledged().await.failure.unwrap();
    assert_eq!((failure.code, failure.grpc_code), (412_002, 9));
}

#[tokio::test]
async fn words_that_cannot_be_read_end_the_stream() {
    let (_site, back) = site_with_feedback().await;
    let many = (0..101).flat_map(|_| word(&[7; 16], v1::Verdict::Complete));
    for words in [
        word(&[1; 15], v1::Verdict::Complete),
        word(&[1; 16], v1::Verdict::Unspecified),
        many.collect(),
    ] {
        let mut receiver = Receiver::new(&back).await;
        receiver.ask(0, words).await;
        let expected = refused(Code::InvalidArgument, ErrorCode::ArgumentInvalid);
        assert_eq!(refusal(soon(receiver.answers.message()).await), expected);
    }
}

#[tokio::test]
async fn a_drain_gives_batches_back_and_ends_the_stream_as_unavailable() {
    let (site, back) = site_with_feedback().await;
    let mut receiver = Receiver::new(&back).await;
    receiver.ask(1, vec![]).await;
    receiver.batch().await;
    let lifecycle = site.hub.shared.lifecycle.clone();
    let draining = lifecycle.shutdown(Duration::from_secs(20));
    let (drained, ended) = soon(async { tokio::join!(draining, receiver.answers.message()) }).await;
    let expected = refused(Code::Unavailable, ErrorCode::ServiceUnavailable);
    assert_eq!(refusal(ended), expected);
    assert_eq!(drained, downlink_runtime::Shutdown::Drained);
    let hub = site.hub.shared.options.hub.clone();
    let again = site.hub.backend.receive_feedback(hub, Duration::ZERO).await;
    assert!(again.unwrap().is_some());
}
