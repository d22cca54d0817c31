//! Pipelined sends: one batch at the queue at a time, so that the order in which messages came
//! stays theirs; what comes meanwhile makes the next batch.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;

use downlink_domain::message::NewMessage;
use downlink_proto::api::v1;
use downlink_runtime::OnError;
use tokio::time::timeout;
use tonic::{Status, Streaming};

use super::answers::{AnswerStream, Answers, Gone, answers};
use super::call::{Call, Ending};
use super::commands::{MAX_MESSAGES, check_count, enqueue, read};
use super::status;
use crate::audit::Origin;
use crate::authenticate::Principal;
use crate::https::USE_CASE_DEADLINE;
use crate::https::error::ApiError;
use crate::shared::Shared;

/// Messages of a stream that may wait while a batch is at the queue; beyond it nothing is read.
const MAX_WAITING: usize = MAX_MESSAGES;
/// Bytes of a stream's messages without an answer; beyond it nothing is read. One request more may
/// have been.
const MAX_HELD_BYTES: usize = 4 * 1024 * 1024;
/// What a message costs besides its own bytes.
const OVERHEAD_BYTES: usize = 256;

type Requests = Streaming<v1::SendStreamRequest>;
type Batch = Pin<Box<dyn Future<Output = (usize, Vec<v1::StreamedResult>)> + Send>>;

/// A message that waits: its id, what it is, what it weighs.
struct Waiting {
    id: u64,
    message: Result<NewMessage, ApiError>,
    bytes: usize,
}

/// One stream.
struct SendStream {
    shared: Arc<Shared>,
    sender: Principal,
    origin: Origin,
    waiting: VecDeque<Waiting>,
    held_bytes: usize,
    is_reading: bool,
    /// What the stream ends with, once all that was taken is answered.
    end: Option<Status>,
}

/// Serves a stream in a task of its own.
pub(super) fn start(
    shared: Arc<Shared>,
    call: Arc<Call>,
    requests: Requests,
) -> AnswerStream<v1::SendStreamResponse> {
    let (sender, stream) = answers(shared.options.grpc.write_deadline);
    let scope = shared.lifecycle.clone();
    scope.spawn("grpc.send", OnError::Log, async move {
        let _held = call
            .activity
            .clone()
            .map(crate::https::serve::Activity::hold);
        let sends = SendStream {
            shared,
            sender: call.principal.clone(),
            origin: call.origin(),
            waiting: VecDeque::new(),
            held_bytes: 0,
            is_reading: true,
            end: None,
        };
        // Whoever is gone has heard of nothing more.
        let _ = sends.run(&call, requests, sender).await;
    });
    stream
}

impl SendStream {
    async fn run(
        mut self,
        call: &Call,
        mut requests: Requests,
        answers: Answers<v1::SendStreamResponse>,
    ) -> Result<(), Gone> {
        let shared = Arc::clone(&self.shared);
        let mut ending = pin!(call.ending(&shared));
        let mut batch: Option<Batch> = None;
        loop {
            if batch.is_none() {
                batch = self.take_batch();
            }
            if batch.is_none() && !self.is_reading {
                break;
            }
            let has_room = self.waiting.len() < MAX_WAITING && self.held_bytes < MAX_HELD_BYTES;
            tokio::select! {
                ending = &mut ending, if self.end.is_none() => match ending {
                    Ending::Soft(status) => self.stop(Some(status)),
                    Ending::Deadline => {
                        answers.fail(status::deadline());
                        return Ok(());
                    }
                },
                request = requests.message(), if self.is_reading && has_room => {
                    self.on_request(request);
                }
                (bytes, results) = finished(&mut batch), if batch.is_some() => {
                    batch = None;
                    self.held_bytes = self.held_bytes.saturating_sub(bytes);
                    answers.send(v1::SendStreamResponse { results }).await?;
                }
                () = answers.gone() => return Err(Gone),
            }
        }
        if let Some(status) = self.end {
            answers.fail(status);
        }
        Ok(())
    }

    fn stop(&mut self, end: Option<Status>) {
        self.is_reading = false;
        self.end = end;
    }

    fn on_request(&mut self, request: Result<Option<v1::SendStreamRequest>, Status>) {
        let request = match request {
            Ok(Some(request)) => request,
            Ok(None) => return self.stop(None),
            Err(status) => return self.stop(Some(status::of_unreadable(status))),
        };
        if let Err(error) = check_count(request.messages.len()) {
            return self.stop(Some(error.into()));
        }
        for v1::StreamedMessage { id, message } in request.messages {
            let message = read(message, &self.shared.options.hub);
            let bytes = message.as_ref().map_or(0, NewMessage::counted_bytes) + OVERHEAD_BYTES;
            self.held_bytes += bytes;
            let waiting = Waiting { id, message, bytes };
            self.waiting.push_back(waiting);
        }
    }

    /// Begins the next batch, if there is anything for it.
    fn take_batch(&mut self) -> Option<Batch> {
        let count = self.waiting.len().min(MAX_MESSAGES);
        if count == 0 {
            return None;
        }
        let taken: Vec<Waiting> = self.waiting.drain(..count).collect();
        let bytes = taken.iter().map(|waiting| waiting.bytes).sum();
        let (shared, sender) = (Arc::clone(&self.shared), self.sender.clone());
        let origin = self.origin;
        Some(Box::pin(async move {
            (bytes, send(&shared, (origin, &sender), taken).await)
        }))
    }
}

/// Waits for the batch that is at the queue.
async fn finished(batch: &mut Option<Batch>) -> (usize, Vec<v1::StreamedResult>) {
    match batch {
        Some(batch) => batch.await,
        None => std::future::pending().await,
    }
}

async fn send(
    shared: &Shared,
    (origin, sender): (Origin, &Principal),
    batch: Vec<Waiting>,
) -> Vec<v1::StreamedResult> {
    let (ids, messages): (Vec<u64>, Vec<_>) = batch
        .into_iter()
        .map(|waiting| (waiting.id, waiting.message))
        .unzip();
    let sent = timeout(
        USE_CASE_DEADLINE,
        enqueue(shared, (origin, sender), messages),
    )
    .await;
    let sent = sent.unwrap_or_else(|_| Err(ApiError::deadline()));
    let errors = sent.unwrap_or_else(|error| vec![Some(error); ids.len()]);
    ids.into_iter()
        .zip(errors)
        .map(|(id, error)| v1::StreamedResult {
            id,
            failure: error.as_ref().map(status::failure),
        })
        .collect()
}
