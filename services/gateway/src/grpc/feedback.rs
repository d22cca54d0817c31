//! Feedback: batches go out as far as there is credit, and come back by the receiver's word or with
//! the end of its stream (c2d.md §6).

use std::collections::HashSet;
use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use downlink_domain::access::{Access, Action};
use downlink_domain::id::{HubName, LockToken};
use downlink_domain::message::Verdict;
use downlink_domain::message::feedback::{FeedbackBatch, FeedbackRecord, FeedbackStatus};
use downlink_ports::{PeerError, QueueApi};
use downlink_proto::api::v1;
use downlink_proto::api::v1::feedback_server::Feedback;
use downlink_proto::api::v1::receive_response;
use downlink_runtime::OnError;
use futures::StreamExt;
use futures::stream::{FuturesUnordered, iter};
use tokio::time::{sleep, timeout};
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, warn};

use super::answers::{AnswerStream, Answers, Gone, answers};
use super::call::{Call, Ending};
use super::{Api, status};
use crate::https::USE_CASE_DEADLINE;
use crate::https::error::ApiError;
use crate::https::serve::Activity;
use crate::shared::Shared;

/// How long one call for feedback waits at the queue. It is not broken off, since a batch may be
/// locked already and on its way back.
const FEEDBACK_WAIT: Duration = Duration::from_secs(1);
/// Pause after a call for feedback has failed.
const FEEDBACK_REST: Duration = Duration::from_secs(1);
/// Batches that a receiver may hold without a word.
const MAX_HELD: usize = 100;
/// Words of one request, and those that are being passed on before more are read.
const MAX_WORDS: usize = 100;
/// Most credit that is kept.
const MAX_CREDIT: u32 = 1000;
/// Batches given back at once.
const MAX_GIVEN_BACK: usize = 16;

type Requests = Streaming<v1::ReceiveRequest>;
type Receiving = Pin<Box<dyn Future<Output = Result<Option<FeedbackBatch>, PeerError>> + Send>>;
type Settling = Pin<Box<dyn Future<Output = v1::Acknowledged> + Send>>;

#[tonic::async_trait]
impl Feedback for Api {
    type ReceiveStream = AnswerStream<v1::ReceiveResponse>;

    async fn receive(
        &self,
        request: Request<Requests>,
    ) -> Result<Response<Self::ReceiveStream>, Status> {
        let (call, requests) = Call::open(request)?;
        let path = ["messages", "serviceBound", "feedback"];
        let access = Access::to_hub(Action::ReceiveFeedback);
        call.authorize(&self.shared, &access, &path).await?;
        let shared = Arc::clone(&self.shared);
        let (sender, stream) = answers(shared.options.grpc.write_deadline);
        let scope = shared.lifecycle.clone();
        scope.spawn("grpc.feedback", OnError::Log, async move {
            let _held = call.activity.clone().map(Activity::hold);
            let mut receiver = Receiver::new(&shared);
            // Whoever is gone needs no status.
            let _ = receiver.run(&shared, &call, requests, sender).await;
            receiver.give_back().await;
        });
        Ok(Response::new(stream))
    }
}

/// One stream.
struct Receiver {
    queue: Arc<dyn QueueApi>,
    hub: HubName,
    credit: u32,
    /// Batches that went out and have no word yet.
    held: HashSet<LockToken>,
    receiving: Option<Receiving>,
    settling: FuturesUnordered<Settling>,
}

impl Receiver {
    fn new(shared: &Shared) -> Self {
        Self {
            queue: Arc::clone(&shared.peers.queue),
            hub: shared.options.hub.clone(),
            credit: 0,
            held: HashSet::new(),
            receiving: None,
            settling: FuturesUnordered::new(),
        }
    }

    async fn run(
        &mut self,
        shared: &Shared,
        call: &Call,
        mut requests: Requests,
        answers: Answers<v1::ReceiveResponse>,
    ) -> Result<(), Gone> {
        let mut ending = pin!(call.ending(shared));
        let end = loop {
            self.start_receiving();
            tokio::select! {
                ending = &mut ending => break match ending {
                    Ending::Soft(status) => Some(status),
                    Ending::Deadline => Some(status::deadline()),
                },
                request = requests.message(), if self.settling.len() < MAX_WORDS => {
                    match request {
                        Ok(Some(request)) => if let Err(error) = self.on_request(&request) {
                            break Some(error.into());
                        },
                        Ok(None) => break None,
                        Err(status) => break Some(status::of_unreadable(status)),
                    }
                }
                received = arrived(&mut self.receiving) => {
                    self.receiving = None;
                    if let Some(batch) = self.on_received(received) {
                        answers.send(batch).await?;
                    }
                }
                Some(acknowledged) = self.settling.next() => {
                    answers.send(response(receive_response::Response::Acknowledged(acknowledged))).await?;
                }
                () = answers.gone() => return Err(Gone),
            }
        };
        // Words that were taken are answered.
        while let Some(acknowledged) = self.settling.next().await {
            let response = receive_response::Response::Acknowledged(acknowledged);
            answers
                .send(v1::ReceiveResponse {
                    response: Some(response),
                })
                .await?;
        }
        if let Some(status) = end {
            answers.fail(status);
        }
        Ok(())
    }

    fn start_receiving(&mut self) {
        if self.receiving.is_some() || self.credit == 0 || self.held.len() >= MAX_HELD {
            return;
        }
        let (queue, hub) = (Arc::clone(&self.queue), self.hub.clone());
        let receiving = async move { queue.receive_feedback(hub, FEEDBACK_WAIT).await };
        self.receiving = Some(Box::pin(receiving));
    }

    fn on_received(
        &mut self,
        received: Result<Option<FeedbackBatch>, PeerError>,
    ) -> Option<v1::ReceiveResponse> {
        match received {
            Ok(batch) => {
                let batch = batch?;
                self.credit -= 1;
                self.held.insert(batch.token);
                Some(response(receive_response::Response::Batch(to_wire(batch))))
            }
            Err(error) => {
                debug!(%error, "feedback cannot be received now");
                self.receiving = Some(Box::pin(async {
                    sleep(FEEDBACK_REST).await;
                    Ok(None)
                }));
                None
            }
        }
    }

    fn on_request(&mut self, request: &v1::ReceiveRequest) -> Result<(), ApiError> {
        self.credit = self.credit.saturating_add(request.credit).min(MAX_CREDIT);
        let count = request.acknowledgements.len();
        if count > MAX_WORDS {
            let text = format!("{count} words in one request are more than {MAX_WORDS}");
            return Err(ApiError::invalid(&text));
        }
        let words = request.acknowledgements.iter().map(read_word);
        for (token, verdict) in words.collect::<Result<Vec<_>, _>>()? {
            self.held.remove(&token);
            let (queue, hub) = (Arc::clone(&self.queue), self.hub.clone());
            let settling = async move { acknowledge(&*queue, hub, token, verdict).await };
            self.settling.push(Box::pin(settling));
        }
        Ok(())
    }

    /// Gives back what has no word, and what is on its way.
    async fn give_back(&mut self) {
        let mut left: Vec<_> = self
            .held
            .drain()
            .map(|token| (token, Verdict::ReleaseDelivered))
            .collect();
        if let Some(receiving) = self.receiving.take()
            && let Ok(Ok(Some(batch))) = timeout(USE_CASE_DEADLINE, receiving).await
        {
            left.push((batch.token, Verdict::ReleaseUndelivered));
        }
        let queue = &self.queue;
        let returned = iter(left).for_each_concurrent(MAX_GIVEN_BACK, |(token, verdict)| {
            let settling = queue.settle_feedback(self.hub.clone(), token, verdict);
            async move {
                if !matches!(timeout(USE_CASE_DEADLINE, settling).await, Ok(Ok(_))) {
                    warn!("a feedback batch could not be given back; its lock will lapse");
                }
            }
        });
        returned.await;
        // A receiver that left before its words were passed on has given them all the same.
        while self.settling.next().await.is_some() {}
    }
}

async fn arrived(receiving: &mut Option<Receiving>) -> Result<Option<FeedbackBatch>, PeerError> {
    match receiving {
        Some(receiving) => receiving.await,
        None => pending().await,
    }
}

fn read_word(word: &v1::Acknowledgement) -> Result<(LockToken, Verdict), ApiError> {
    let token = <[u8; 16]>::try_from(&word.token[..])
        .map_err(|_| ApiError::invalid(&"a token must have 16 bytes"))?;
    let verdict = match word.verdict() {
        v1::Verdict::Complete => Verdict::Complete,
        v1::Verdict::Abandon => Verdict::Abandon,
        v1::Verdict::Reject => Verdict::Reject,
        v1::Verdict::Unspecified => return Err(ApiError::invalid(&"there is no verdict")),
    };
    Ok((LockToken(token), verdict))
}

async fn acknowledge(
    queue: &dyn QueueApi,
    hub: HubName,
    token: LockToken,
    verdict: Verdict,
) -> v1::Acknowledged {
    let settling = queue.settle_feedback(hub, token, verdict);
    let settled = match timeout(USE_CASE_DEADLINE, settling).await {
        Err(_) => Err(ApiError::deadline()),
        Ok(Err(error)) => Err(error.into()),
        Ok(Ok(Err(error))) => Err(ApiError::new(error.code(), error.to_string())),
        Ok(Ok(Ok(()))) => Ok(()),
    };
    v1::Acknowledged {
        token: token.0.to_vec().into(),
        failure: settled.as_ref().err().map(status::failure),
    }
}

fn response(response: receive_response::Response) -> v1::ReceiveResponse {
    v1::ReceiveResponse {
        response: Some(response),
    }
}

fn to_wire(batch: FeedbackBatch) -> v1::FeedbackBatch {
    v1::FeedbackBatch {
        token: batch.token.0.to_vec().into(),
        locked_until: batch.locked_until.as_millis(),
        enqueued_at: batch.enqueued_at.as_millis(),
        delivery_count: batch.delivery_count,
        records: batch.records.into_iter().map(record).collect(),
    }
}

fn record(record: FeedbackRecord) -> v1::FeedbackRecord {
    let status = match record.status {
        FeedbackStatus::Success => v1::FeedbackStatus::Success,
        FeedbackStatus::Expired => v1::FeedbackStatus::Expired,
        FeedbackStatus::DeliveryCountExceeded => v1::FeedbackStatus::DeliveryCountExceeded,
        FeedbackStatus::Rejected => v1::FeedbackStatus::Rejected,
        FeedbackStatus::Purged => v1::FeedbackStatus::Purged,
    };
    v1::FeedbackRecord {
        original_message_id: record.original_message_id,
        device_id: record.device.to_string(),
        device_generation_id: record.generation.to_string(),
        at: record.at.as_millis(),
        status: status.into(),
    }
}
