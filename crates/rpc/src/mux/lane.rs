//! One lane of a client: calls that wait to be written, calls that wait for their reply.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll, Waker};

use downlink_ports::PeerError;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::lost::Lost;
use super::ticket::{Outbound, Outcome, Ticket};
use super::{CallStream, MAX_BATCH_BYTES, MAX_BATCH_CALLS, MAX_CALL_BYTES, MuxOptions, NO_CALL};
use crate::failure::from_failure;

/// Id, timeout and length of a frame at their longest.
const FRAME_OVERHEAD_BYTES: usize = 24;

/// How a lane stands, as those see it who choose among nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// Not connected, trying again.
    Down,
    /// Of a node that came later and has not been reached yet: it has no share before it was.
    Joining,
    /// Connected to a node that has asked its callers to go elsewhere; it still answers.
    Draining,
    /// Connected, or on the first attempt of a node that was there from the start.
    Ready,
}

impl Standing {
    fn from_number(number: u8) -> Self {
        const ALL: [Standing; 4] = [
            Standing::Down,
            Standing::Joining,
            Standing::Draining,
            Standing::Ready,
        ];
        ALL[usize::from(number) % ALL.len()]
    }
}

/// The calls of one lane. They are written in the order in which they were added.
pub(crate) struct Lane<S: CallStream> {
    max_calls: usize,
    max_waiting_bytes: usize,
    /// A [`Standing`]; written under the lock of `state`, read without it.
    standing: AtomicU8,
    /// Whether there is no other node: then calls wait for the next stream when one breaks.
    is_alone: AtomicBool,
    state: Mutex<State<S>>,
}

struct State<S: CallStream> {
    next_call_id: u64,
    /// Whether calls are refused until a stream opens: the last attempt to connect failed, or the
    /// stream broke and there are other nodes.
    is_down: bool,
    /// Counts streams; what belongs to an earlier one is void.
    stream: u64,
    /// Whether the server has answered the opening of the stream. Nothing is written before: it
    /// would not be known whether anybody reads it.
    is_open: bool,
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
    reply: oneshot::Sender<Outcome<S>>,
    /// Parts of the reply so far.
    parts: Option<S::Reply>,
    is_written: bool,
}

impl<S: CallStream> Lane<S> {
    pub(crate) fn new(options: &MuxOptions, standing: Standing) -> Arc<Self> {
        Arc::new(Self {
            max_calls: options.max_calls,
            max_waiting_bytes: options.max_waiting_bytes,
            standing: AtomicU8::new(standing as u8),
            is_alone: AtomicBool::new(true),
            state: Mutex::new(State {
                next_call_id: 1,
                is_down: false,
                stream: 0,
                is_open: false,
                waiting: VecDeque::new(),
                waiting_bytes: 0,
                pending: HashMap::new(),
                cancelled: Vec::new(),
                outbound: None,
            }),
        })
    }

    /// How the lane stands.
    pub(crate) fn standing(&self) -> Standing {
        Standing::from_number(self.standing.load(Ordering::Acquire))
    }

    /// States whether there is another node that calls may go to.
    pub(crate) fn set_alone(&self, is_alone: bool) {
        self.is_alone.store(is_alone, Ordering::Release);
    }

    /// Adds a call without waiting; its place in the order of the lane is taken on return.
    pub(crate) fn add(
        self: &Arc<Self>,
        call: S::Call,
        deadline: Instant,
    ) -> Result<Ticket<S>, Lost<S::Call>> {
        let service = S::SERVICE;
        let mut frame = S::call_frame(call);
        let bytes = frame.encoded_len() + FRAME_OVERHEAD_BYTES;
        if bytes > MAX_CALL_BYTES {
            return Err(Lost::Failed(PeerError::Refused {
                code: downlink_domain::ErrorCode::MessageTooLarge,
                message: format!("a call of {bytes} bytes is too large for the {service} service"),
            }));
        }
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state.lock();
        if state.is_down {
            drop(state);
            return Err(not_sent::<S>(frame));
        }
        let is_full = state.pending.len().max(state.waiting.len()) >= self.max_calls
            || state.waiting_bytes.saturating_add(bytes) > self.max_waiting_bytes;
        if is_full {
            return Err(Lost::Failed(PeerError::Overloaded { service }));
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
        let lane = Arc::clone(self);
        Ok(Ticket::new(lane, call_id, receiver, deadline))
    }

    /// Begins a new stream; returns what is written to it.
    pub(crate) fn begin_stream(self: &Arc<Self>) -> Outbound<S> {
        let mut state = self.state.lock();
        state.stream += 1;
        state.is_open = false;
        Outbound::new(Arc::clone(self), state.stream)
    }

    /// The stream is open: calls are taken.
    pub(crate) fn on_open(&self) {
        let mut state = self.state.lock();
        state.is_down = false;
        state.is_open = true;
        self.stand(Standing::Ready);
        let waker = state.outbound.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The stream broke: what was written has an unknown outcome. What was not written waits for
    /// the next stream when there is no other node, else it is given back.
    pub(crate) fn on_break(&self) {
        let mut state = self.state.lock();
        // Whatever still polls the broken stream finds that it ended.
        state.stream += 1;
        state.is_open = false;
        state.cancelled.clear();
        let written: Vec<_> = state
            .pending
            .extract_if(|_, pending| pending.is_written)
            .collect();
        let unwritten = if self.is_alone.load(Ordering::Acquire) {
            Vec::new()
        } else {
            self.stand(Standing::Down);
            state.is_down = true;
            state.take_unwritten()
        };
        let waker = state.outbound.take();
        drop(state);
        for (_, pending) in written {
            let _ = pending.reply.send(Err(Lost::Unknown));
        }
        give_back(unwritten);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The service could not be reached: what was not written is given back, everything else has
    /// an unknown outcome, and what comes is refused.
    pub(crate) fn on_down(&self) {
        let mut state = self.state.lock();
        self.stand(Standing::Down);
        state.is_down = true;
        let unwritten = state.take_unwritten();
        let pending = std::mem::take(&mut state.pending);
        drop(state);
        give_back(unwritten);
        for pending in pending.into_values() {
            let _ = pending.reply.send(Err(Lost::Unknown));
        }
    }

    fn stand(&self, standing: Standing) {
        self.standing.store(standing as u8, Ordering::Release);
    }

    /// A batch of replies came in.
    pub(crate) fn on_replies(&self, replies: S::Replies) {
        let frames = S::open_replies(replies);
        let mut done = Vec::with_capacity(frames.len());
        let mut state = self.state.lock();
        for frame in frames {
            let (call_id, has_more, part) = S::open_reply(frame);
            if call_id == NO_CALL {
                self.stand(Standing::Draining);
                continue;
            }
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
    pub(crate) fn give_up(&self, call_id: u64) {
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

    pub(crate) fn poll_batch(&self, stream: u64, context: &Context<'_>) -> Poll<Option<S::Calls>> {
        let mut state = self.state.lock();
        if state.stream != stream {
            return Poll::Ready(None);
        }
        let batch = if state.is_open {
            state.take_batch()
        } else {
            Vec::new()
        };
        if batch.is_empty() && state.cancelled.is_empty() {
            state.outbound = Some(context.waker().clone());
            return Poll::Pending;
        }
        let cancelled = std::mem::take(&mut state.cancelled);
        Poll::Ready(Some(S::calls(batch, cancelled)))
    }
}

impl<S: CallStream> State<S> {
    /// Takes what was not written, in its order.
    fn take_unwritten(&mut self) -> Vec<(Pending<S>, S::CallFrame)> {
        self.waiting_bytes = 0;
        let waiting = std::mem::take(&mut self.waiting).into_iter();
        waiting
            .filter_map(|waiting| {
                let pending = self.pending.remove(&waiting.call_id)?;
                Some((pending, waiting.frame?))
            })
            .collect()
    }

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

/// The call inside a frame that was never written.
fn not_sent<S: CallStream>(frame: S::CallFrame) -> Lost<S::Call> {
    match S::open_call(frame) {
        (_, _, Some(call)) => Lost::NotSent(Box::new(call)),
        (_, _, None) => Lost::Unknown,
    }
}

fn give_back<S: CallStream>(unwritten: Vec<(Pending<S>, S::CallFrame)>) {
    for (pending, frame) in unwritten {
        let _ = pending.reply.send(Err(not_sent::<S>(frame)));
    }
}

fn result_of<S: CallStream>(reply: Option<S::Reply>) -> Outcome<S> {
    let service = S::SERVICE;
    // A body that this version does not know is as good as none.
    let reply = reply.ok_or(Lost::Unknown)?;
    S::into_result(reply).map_err(|failure| match from_failure(service, failure) {
        PeerError::Unavailable { .. } => Lost::Unknown,
        error => Lost::Failed(error),
    })
}
