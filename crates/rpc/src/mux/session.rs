//! The serving side of one stream.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use downlink_domain::ErrorCode;
use downlink_ports::PeerError;
use futures::future::{AbortHandle, Abortable, BoxFuture};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, Stream, StreamExt};
use prost::Message;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Status, Streaming};
use tracing::debug;

use super::{CallStream, MAX_BATCH_BYTES, MAX_CALL_BYTES, MAX_SERVED, NO_CALL};
use crate::failure::to_failure;
use crate::serving::Serving;

/// Answers the calls of a service.
pub(crate) trait Dispatch<S: CallStream>: Send + Sync + 'static {
    /// Makes one call. Calls of one stream are first polled in the order they were written.
    fn dispatch(
        &self,
        call: S::Call,
    ) -> impl Future<Output = Result<S::Reply, PeerError>> + Send + 'static;
}

/// The calls of one stream, as the stream of their replies.
///
/// Whoever writes the replies drives the calls: there is no task and no channel between. When
/// the peer goes away the session is dropped and its calls with it. At most `MAX_SERVED` calls
/// run at a time, beyond which nothing is read; replies are gathered up to a batch and wait, with
/// the calls, while the peer does not read.
pub(crate) struct Session<S: CallStream, D> {
    dispatch: Arc<D>,
    /// `None` once the peer has said all.
    inbound: Option<Streaming<S::Calls>>,
    /// Read but not begun; at most one batch.
    unbegun: VecDeque<S::CallFrame>,
    running: FuturesUnordered<BoxFuture<'static, Done<S>>>,
    aborts: HashMap<u64, AbortHandle>,
    gathered: Vec<S::ReplyFrame>,
    gathered_bytes: usize,
    serving: Serving,
    halted: Pin<Box<WaitForCancellationFutureOwned>>,
    /// `None` once the peer was told to go elsewhere.
    leaving: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// Running calls that `serving` knows of.
    noted: usize,
    is_over: bool,
}

/// A call that ended; no reply when it was cancelled.
struct Done<S: CallStream> {
    call_id: u64,
    reply: Option<S::Reply>,
}

impl<S: CallStream, D: Dispatch<S>> Session<S, D> {
    /// Serves the calls of `inbound` until it ends, or until the halt, which ends the stream with
    /// `UNAVAILABLE`. When the server leaves, the peer is told and its calls are answered.
    pub(crate) fn new(dispatch: &Arc<D>, inbound: Streaming<S::Calls>, serving: &Serving) -> Self {
        Self {
            dispatch: Arc::clone(dispatch),
            inbound: Some(inbound),
            unbegun: VecDeque::new(),
            running: FuturesUnordered::new(),
            aborts: HashMap::new(),
            gathered: Vec::new(),
            gathered_bytes: 0,
            serving: serving.clone(),
            halted: Box::pin(serving.halt().clone().cancelled_owned()),
            leaving: Some(Box::pin(serving.leaving().clone().cancelled_owned())),
            noted: 0,
            is_over: false,
        }
    }

    /// Reads at most one batch; tells whether it read one.
    fn read(&mut self, context: &mut Context<'_>) -> Result<bool, Status> {
        if !self.unbegun.is_empty() {
            return Ok(false);
        }
        let Some(inbound) = &mut self.inbound else {
            return Ok(false);
        };
        match inbound.poll_next_unpin(context) {
            Poll::Pending => Ok(false),
            Poll::Ready(None) => {
                self.inbound = None;
                Ok(false)
            }
            Poll::Ready(Some(Err(status))) => Err(status),
            Poll::Ready(Some(Ok(batch))) => {
                let (calls, cancelled) = S::open_calls(batch);
                for call_id in cancelled {
                    if let Some(abort) = self.aborts.get(&call_id) {
                        abort.abort();
                    }
                }
                self.unbegun = calls.into();
                Ok(true)
            }
        }
    }

    /// Tells the peer once that the server leaves.
    fn take_leave(&mut self, context: &mut Context<'_>) {
        if let Some(leaving) = &mut self.leaving
            && leaving.poll_unpin(context).is_ready()
        {
            self.leaving = None;
            let service = S::SERVICE;
            let failure = S::failure(to_failure(PeerError::Unavailable { service }));
            self.push(S::reply_frame(NO_CALL, false, failure));
        }
    }

    fn begin(&mut self) {
        let already = self.running.len();
        self.begin_unbegun();
        let running = self.running.len();
        self.serving.note(running - already, self.noted, running);
        self.noted = running;
    }

    fn note_ended(&mut self) {
        let running = self.running.len();
        self.serving.note(0, self.noted, running);
        self.noted = running;
    }

    fn begin_unbegun(&mut self) {
        while self.running.len() < MAX_SERVED {
            let Some(frame) = self.unbegun.pop_front() else {
                return;
            };
            let (call_id, millis, call) = S::open_call(frame);
            let Some(call) = call else {
                let failure = unknown_call(S::SERVICE);
                self.gather(call_id, S::failure(to_failure(failure)));
                continue;
            };
            let timeout = Duration::from_millis(millis.into());
            let (abort, registration) = AbortHandle::new_pair();
            let answer = answer::<S>(self.dispatch.dispatch(call), timeout);
            // Under the task's poll budget the calls of a large batch would find channels "not
            // ready" at their first poll and begin again in another order.
            let answer = tokio::task::unconstrained(answer);
            let abortable = Abortable::new(answer, registration);
            self.aborts.insert(call_id, abort);
            self.running.push(Box::pin(async move {
                let reply = abortable.await.ok();
                Done { call_id, reply }
            }));
        }
    }

    /// Polls running calls until none is done or the batch is full.
    fn collect(&mut self, context: &mut Context<'_>) {
        while self.gathered_bytes < MAX_BATCH_BYTES {
            let Poll::Ready(Some(done)) = self.running.poll_next_unpin(context) else {
                return;
            };
            self.aborts.remove(&done.call_id);
            if let Some(reply) = done.reply {
                self.gather(done.call_id, reply);
            }
        }
    }

    fn gather(&mut self, call_id: u64, mut reply: S::Reply) {
        while let Some(part) = S::take_part(&mut reply, MAX_BATCH_BYTES) {
            self.push(S::reply_frame(call_id, true, part));
        }
        let frame = S::reply_frame(call_id, false, reply);
        if frame.encoded_len() > MAX_CALL_BYTES {
            // Written as it is it would end the stream for everybody.
            let failure = to_failure(too_large(S::SERVICE));
            self.push(S::reply_frame(call_id, false, S::failure(failure)));
        } else {
            self.push(frame);
        }
    }

    fn push(&mut self, frame: S::ReplyFrame) {
        self.gathered_bytes += frame.encoded_len();
        self.gathered.push(frame);
    }

    /// Takes the next batch of replies: all that is gathered, or as much as one frame holds.
    fn take_batch(&mut self) -> Option<S::Replies> {
        if self.gathered.is_empty() {
            return None;
        }
        if self.gathered_bytes <= MAX_CALL_BYTES {
            self.gathered_bytes = 0;
            return Some(S::replies(std::mem::take(&mut self.gathered)));
        }
        let mut batch_bytes = 0;
        let fits = |frame: &&S::ReplyFrame| {
            batch_bytes += frame.encoded_len();
            batch_bytes <= MAX_BATCH_BYTES
        };
        let count = self.gathered.iter().take_while(fits).count().max(1);
        let rest = self.gathered.split_off(count);
        let batch = std::mem::replace(&mut self.gathered, rest);
        let taken: usize = batch.iter().map(Message::encoded_len).sum();
        self.gathered_bytes -= taken;
        Some(S::replies(batch))
    }

    fn poll_replies(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<S::Replies, Status>>> {
        if self.halted.poll_unpin(context).is_ready() {
            return Poll::Ready(Some(Err(Status::unavailable("the service is going away"))));
        }
        self.take_leave(context);
        loop {
            let has_read = match self.read(context) {
                Ok(has_read) => has_read,
                Err(error) => {
                    debug!(service = S::SERVICE, %error, "stream of calls broke");
                    return Poll::Ready(None);
                }
            };
            self.begin();
            self.collect(context);
            self.note_ended();
            if let Some(batch) = self.take_batch() {
                return Poll::Ready(Some(Ok(batch)));
            }
            if self.inbound.is_none() && self.running.is_empty() {
                return Poll::Ready(None);
            }
            if !has_read {
                return Poll::Pending;
            }
        }
    }
}

impl<S: CallStream, D: Dispatch<S>> Stream for Session<S, D> {
    type Item = Result<S::Replies, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let polled = self.poll_replies(context);
        if !matches!(polled, Poll::Pending | Poll::Ready(Some(Ok(_)))) {
            self.is_over = true;
            self.running.clear();
            self.note_ended();
        }
        polled
    }
}

impl<S: CallStream, D> Drop for Session<S, D> {
    fn drop(&mut self) {
        self.serving.note(0, self.noted, 0);
    }
}

async fn answer<S: CallStream>(
    call: impl Future<Output = Result<S::Reply, PeerError>>,
    timeout: Duration,
) -> S::Reply {
    let service = S::SERVICE;
    let result = match tokio::time::timeout(timeout, call).await {
        Ok(result) => result,
        Err(_) => Err(PeerError::DeadlineExceeded { service }),
    };
    result.unwrap_or_else(|error| S::failure(to_failure(error)))
}

fn unknown_call(service: &'static str) -> PeerError {
    PeerError::Refused {
        code: ErrorCode::ArgumentInvalid,
        message: format!("the {service} service does not know this call"),
    }
}

fn too_large(service: &'static str) -> PeerError {
    PeerError::Refused {
        code: ErrorCode::ServerError,
        message: format!("a reply of the {service} service is too large"),
    }
}
