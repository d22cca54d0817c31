//! One lane of a client: calls that wait to be written, calls that wait for their reply.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use downlink_ports::PeerError;
use futures::Stream;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{CallStream, MAX_BATCH_BYTES, MAX_BATCH_CALLS, MAX_CALL_BYTES, MuxOptions};
use crate::failure::from_failure;

/// Id, timeout and length of a frame at their longest.
const FRAME_OVERHEAD_BYTES: usize = 24;

/// The calls of one lane. They are written in the order in which they were added.
pub(crate) struct Lane<S: CallStream> {
    max_calls: usize,
    max_waiting_bytes: usize,
    state: Mutex<State<S>>,
}

struct State<S: CallStream> {
    next_call_id: u64,
    /// Whether the last attempt to connect failed; calls are refused until one succeeds.
    is_down: bool,
    /// Counts streams; what belongs to an earlier one is void.
    stream: u64,
    /// Not yet written, ids ascending. Bounded by `pending`; a call that was dropped leaves an
    /// empty place, and the places are counted too.
    waiting: VecDeque<Waiting<S>>,
    waiting_bytes: usize,
    /// Written or not; bounded by `max_calls`.
    pending: HashMap<u64, Pending<S>>,
    /// Written calls whose caller went away; bounded by the calls that were pending.
    cancelled: Vec<u64>,
    outbound: Option<Waker>,
}

struct Waiting<S: CallStream> {
    call_id: u64,
    frame: Option<S::CallFrame>,
    bytes: usize,
    deadline: Instant,
}

struct Pending<S: CallStream> {
    reply: oneshot::Sender<Result<S::Reply, PeerError>>,
    /// Parts of the reply so far.
    parts: Option<S::Reply>,
    is_written: bool,
}

impl<S: CallStream> Lane<S> {
    pub(super) fn new(options: &MuxOptions) -> Arc<Self> {
        Arc::new(Self {
            max_calls: options.max_calls,
            max_waiting_bytes: options.max_waiting_bytes,
            state: Mutex::new(State {
                next_call_id: 1,
                is_down: false,
                stream: 0,
                waiting: VecDeque::new(),
                waiting_bytes: 0,
                pending: HashMap::new(),
                cancelled: Vec::new(),
                outbound: None,
            }),
        })
    }

    /// Adds a call without waiting; its place in the order of the lane is taken on return.
    pub(super) fn add(
        self: &Arc<Self>,
        call: S::Call,
        deadline: Instant,
    ) -> Result<Ticket<S>, PeerError> {
        let service = S::SERVICE;
        let mut frame = S::call_frame(call);
        let bytes = frame.encoded_len() + FRAME_OVERHEAD_BYTES;
        if bytes > MAX_CALL_BYTES {
            return Err(PeerError::Refused {
                code: downlink_domain::ErrorCode::MessageTooLarge,
                message: format!("a call of {bytes} bytes is too large for the {service} service"),
            });
        }
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        if state.is_down {
            return Err(PeerError::Unavailable { service });
        }
        let is_full = state.pending.len().max(state.waiting.len()) >= self.max_calls
            || state.waiting_bytes.saturating_add(bytes) > self.max_waiting_bytes;
        if is_full {
            return Err(PeerError::Overloaded { service });
        }
        let call_id = state.next_call_id;
        state.next_call_id += 1;
        S::set_call_id(&mut frame, call_id);
        state.waiting_bytes += bytes;
        state.waiting.push_back(Waiting {
            call_id,
            frame: Some(frame),
            bytes,
            deadline,
        });
        state.pending.insert(
            call_id,
            Pending {
                reply: sender,
                parts: None,
                is_written: false,
            },
        );
        let waker = state.outbound.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(Ticket {
            lane: Arc::clone(self),
            call_id,
            receiver,
            deadline,
        })
    }

    /// Begins a new stream; returns what is written to it.
    pub(super) fn begin_stream(self: &Arc<Self>) -> Outbound<S> {
        let mut state = self.state.lock();
        state.stream += 1;
        Outbound {
            lane: Arc::clone(self),
            stream: state.stream,
        }
    }

    /// The stream is open: calls are taken.
    pub(super) fn on_open(&self) {
        self.state.lock().is_down = false;
    }

    /// The stream broke: what was written fails, its outcome is unknown. What was not written
    /// waits for the next stream.
    pub(super) fn on_break(&self) {
        let mut state = self.state.lock();
        // Whatever still polls the broken stream finds that it ended.
        state.stream += 1;
        state.cancelled.clear();
        let written: Vec<_> = state
            .pending
            .extract_if(|_, pending| pending.is_written)
            .collect();
        let waker = state.outbound.take();
        drop(state);
        fail(written.into_iter().map(|(_, pending)| pending));
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The service could not be reached: everything fails, and what comes is refused.
    pub(super) fn on_down(&self) {
        let mut state = self.state.lock();
        state.is_down = true;
        state.waiting.clear();
        state.waiting_bytes = 0;
        let pending = std::mem::take(&mut state.pending);
        drop(state);
        fail(pending.into_values());
    }

    /// A batch of replies came in.
    pub(super) fn on_replies(&self, replies: S::Replies) {
        let frames = S::open_replies(replies);
        let mut done = Vec::with_capacity(frames.len());
        let mut state = self.state.lock();
        for frame in frames {
            let (call_id, has_more, part) = S::open_reply(frame);
            // A reply to a call that was given up.
            let Some(pending) = state.pending.get_mut(&call_id) else {
                continue;
            };
            if let Some(part) = part {
                match &mut pending.parts {
                    None => pending.parts = Some(part),
                    Some(reply) => S::append(reply, part),
                }
            }
            if !has_more && let Some(pending) = state.pending.remove(&call_id) {
                done.push(pending);
            }
        }
        drop(state);
        for pending in done {
            let _ = pending.reply.send(result_of::<S>(pending.parts));
        }
    }

    /// The caller of a call went away.
    fn give_up(&self, call_id: u64) {
        let mut state = self.state.lock();
        let Some(pending) = state.pending.remove(&call_id) else {
            return;
        };
        let mut waker = None;
        if pending.is_written {
            state.cancelled.push(call_id);
            waker = state.outbound.take();
        } else if let Ok(index) = state
            .waiting
            .binary_search_by_key(&call_id, |waiting| waiting.call_id)
        {
            let waiting = &mut state.waiting[index];
            let bytes = std::mem::take(&mut waiting.bytes);
            waiting.frame = None;
            state.waiting_bytes -= bytes;
        }
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn poll_batch(&self, stream: u64, context: &Context<'_>) -> Poll<Option<S::Calls>> {
        let mut state = self.state.lock();
        if state.stream != stream {
            return Poll::Ready(None);
        }
        let batch = state.take_batch();
        if batch.is_empty() && state.cancelled.is_empty() {
            state.outbound = Some(context.waker().clone());
            return Poll::Pending;
        }
        let cancelled = std::mem::take(&mut state.cancelled);
        Poll::Ready(Some(S::calls(batch, cancelled)))
    }
}

impl<S: CallStream> State<S> {
    fn take_batch(&mut self) -> Vec<S::CallFrame> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        let now = Instant::now();
        let mut batch = Vec::with_capacity(self.waiting.len().min(MAX_BATCH_CALLS));
        let mut batch_bytes = 0;
        while let Some(next) = self.waiting.front() {
            let is_full = batch.len() == MAX_BATCH_CALLS
                || (!batch.is_empty() && batch_bytes + next.bytes > MAX_BATCH_BYTES);
            if is_full {
                break;
            }
            let Some(waiting) = self.waiting.pop_front() else {
                break;
            };
            self.waiting_bytes -= waiting.bytes;
            batch_bytes += waiting.bytes;
            let Some(mut frame) = waiting.frame else {
                continue;
            };
            if let Some(pending) = self.pending.get_mut(&waiting.call_id) {
                pending.is_written = true;
            }
            let left = waiting.deadline.saturating_duration_since(now);
            let millis = u32::try_from(left.as_millis()).unwrap_or(u32::MAX);
            S::set_timeout(&mut frame, millis);
            batch.push(frame);
        }
        batch
    }
}

fn fail<S: CallStream>(pending: impl Iterator<Item = Pending<S>>) {
    let service = S::SERVICE;
    for pending in pending {
        let _ = pending.reply.send(Err(PeerError::Unavailable { service }));
    }
}

fn result_of<S: CallStream>(reply: Option<S::Reply>) -> Result<S::Reply, PeerError> {
    let service = S::SERVICE;
    // A body that this version does not know is as good as none.
    let reply = reply.ok_or(PeerError::Unavailable { service })?;
    S::into_result(reply).map_err(|failure| from_failure(service, failure))
}

/// A call in its place. Dropping it gives the call up: what was not written never is, what was
/// written is cancelled at the server, and a late reply goes nowhere.
pub(super) struct Ticket<S: CallStream> {
    lane: Arc<Lane<S>>,
    call_id: u64,
    receiver: oneshot::Receiver<Result<S::Reply, PeerError>>,
    deadline: Instant,
}

impl<S: CallStream> Ticket<S> {
    /// Waits for the reply.
    pub(super) async fn reply(mut self) -> Result<S::Reply, PeerError> {
        let service = S::SERVICE;
        match tokio::time::timeout_at(self.deadline, &mut self.receiver).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(PeerError::Unavailable { service }),
            Err(_) => Err(PeerError::DeadlineExceeded { service }),
        }
    }
}

impl<S: CallStream> Drop for Ticket<S> {
    fn drop(&mut self) {
        if !self.receiver.is_terminated() {
            self.lane.give_up(self.call_id);
        }
    }
}

/// What is written to one stream: batches of whatever waits. It ends when its stream was given up.
pub(crate) struct Outbound<S: CallStream> {
    lane: Arc<Lane<S>>,
    stream: u64,
}

impl<S: CallStream> Stream for Outbound<S> {
    type Item = S::Calls;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Calls>> {
        self.lane.poll_batch(self.stream, context)
    }
}
