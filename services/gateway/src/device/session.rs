//! The session of one connected device; see [`crate::device`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use downlink_domain::device::Device;
use downlink_domain::event::Event;
use downlink_domain::id::LockToken;
use downlink_domain::message::{Settlement, Verdict};
use downlink_domain::method::{MethodAnswer, MethodError, MethodName};
use downlink_domain::presence::{ConnectionEnd, DisconnectReason, Subscriptions};
use downlink_domain::twin::{Twin, TwinChange};
use downlink_ports::{DeviceConnection, LockedMessage, Notify, PeerError, SettleError};
use tracing::{debug, warn};

use super::calls::OpenCalls;
use super::desired::DesiredFeed;
use super::messages::{Received, Window};
use super::pace::{Due, Pace};
use super::running::{Done, Kind, Running};
use super::stay::Turn;
use super::telemetry::{Stamp, Telemetry};
use crate::connections::Handle;
use crate::limits::Throttled;
use crate::mailbox::{Inbox, Invocation};
use crate::shared::Shared;

/// Telemetry that may wait to be stored, and twin requests that may wait their turn; a door reads
/// no further from its socket while [`DeviceSession::is_busy`].
const MAX_WAITING: usize = 256;
/// Bytes of telemetry that may wait.
const MAX_WAITING_BYTES: usize = 1024 * 1024;

/// What becomes of the stored MQTT session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredSession {
    /// Nothing.
    Kept,
    /// It ends.
    Removed,
    /// It is this from now on.
    Written(Bytes),
}

/// A request whose order matters; operations of one session run one after another.
#[derive(Debug)]
pub enum Operation {
    /// Change what the connection has asked for.
    Subscribe {
        /// The whole set after the change.
        subscriptions: Subscriptions,
        /// What to do with the stored session.
        session: StoredSession,
    },
    /// Read the whole twin.
    GetTwin,
    /// Write reported properties; always a [`TwinChange::Report`].
    Report(TwinChange),
}

/// How an [`Operation`] ended.
#[derive(Debug)]
pub enum OperationOutcome {
    /// Subscriptions are in force and stored.
    Subscribed(Result<(), PeerError>),
    /// The twin.
    Twin(Box<Result<Twin, PeerError>>),
    /// The new version of reported.
    Reported(Result<u64, PeerError>),
}

/// Something a door must act on.
#[derive(Debug)]
pub enum SessionEvent<T> {
    /// Deliver these messages, in this order. Each is held until [`DeviceSession::settle`].
    Messages(Vec<LockedMessage>),
    /// Outcomes of settlements, for doors that answer them.
    Settled(Vec<(LockToken, Result<(), SettleError>)>),
    /// Telemetry is on disk: acknowledge these.
    Stored(Vec<T>),
    /// Telemetry could not be stored; MQTT has no other answer than to close.
    NotStored(Vec<T>, PeerError),
    /// An operation ended.
    Ended(T, OperationOutcome),
    /// Ask the device; answer by [`DeviceSession::answer`].
    Invoke {
        /// Request id, never repeated across connections.
        rid: u64,
        /// Which method.
        name: MethodName,
        /// JSON text, may be empty.
        payload: Bytes,
    },
    /// Tell the device of changed desired properties.
    Desired(Notify),
    /// Close the connection.
    Close(DisconnectReason),
}

/// A connected device, without its protocol. `T` is what the door needs to find its way back from
/// an answer: a packet id, a request id.
pub struct DeviceSession<T> {
    pub(super) shared: Arc<Shared>,
    pub(super) device: Box<Device>,
    pub(super) connection: DeviceConnection,
    pub(super) handle: Arc<Handle>,
    pub(super) stamp: Stamp,
    pub(super) window: Window,
    pub(super) open_calls: OpenCalls,
    pub(super) settlements: Vec<Settlement>,
    pub(super) events: Vec<(T, Event)>,
    pub(super) event_bytes: usize,
    pub(super) operations: VecDeque<(T, Operation, Due)>,
    /// How fast it may go.
    pub(super) pace: Pace<T>,
    pub(super) running: Running<T>,
    /// Changes of desired on their way.
    pub(super) desired: Box<DesiredFeed>,
    pub(super) closed_by: Option<DisconnectReason>,
    /// What the door says of the end.
    pub(super) ended_by: Option<ConnectionEnd>,
    /// Whether the identity is to be looked at once more; see [`super::recheck`].
    pub(super) wants_recheck: bool,
    /// What to wait for before the first receive.
    pub(super) turn: Option<Turn>,
    /// Whether whoever waits for what the connection held has been told that it is back.
    pub(super) has_let_go: bool,
    /// Whether someone else sees to what the session leaves behind.
    pub(super) is_handed_over: bool,
}

impl<T: Send + 'static> DeviceSession<T> {
    /// The identity that is connected.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What presence knows, or is about to know, that the connection asks for.
    pub fn subscriptions(&self) -> Subscriptions {
        self.handle.subscriptions()
    }

    /// Notes why the connection ends, before the session is closed or dropped; the first word
    /// counts, and what the hub ordered counts more.
    pub fn ends_by(&mut self, end: ConnectionEnd) {
        self.ended_by.get_or_insert(end);
    }

    /// Notes that the device sent or received something.
    fn note_activity(&self) {
        self.handle.activity().note(self.shared.peers.clock.now());
    }

    /// Tells whether messages may come without anything else happening: they are being asked for,
    /// or will be when the session is polled. A door that is asked to drain waits for it.
    pub fn may_bring_messages(&self) -> bool {
        self.may_receive() && (self.window.is_asking() || self.window.is_about_to_ask())
    }

    /// Tells whether the door should stop reading until something has been worked off.
    pub fn is_busy(&self) -> bool {
        self.events.len() >= MAX_WAITING
            || self.event_bytes >= MAX_WAITING_BYTES
            || self.operations.len() >= MAX_WAITING
    }

    /// Queues an operation; its end arrives as [`SessionEvent::Ended`] with `tag`.
    pub fn operate(&mut self, tag: T, operation: Operation) {
        self.note_activity();
        match self.operation_turn(&operation) {
            Ok(due) => self.operations.push_back((tag, operation, due)),
            Err(throttled) => self.refuse_operation(tag, &operation, throttled),
        }
    }

    /// Tells whether telemetry may be queued by a door that can refuse it; one answer for all of a batch.
    ///
    /// # Errors
    /// [`Throttled`]: its turn is too far away.
    pub fn admit_telemetry(&mut self) -> Result<(), Throttled> {
        self.refuses_telemetry().map_or(Ok(()), Err)
    }

    /// Queues telemetry; [`SessionEvent::Stored`] names `tag` when it is on disk.
    pub fn store(&mut self, tag: T, telemetry: Telemetry) {
        let peers = &self.shared.peers;
        let now = peers.clock.now();
        self.handle.activity().note(now);
        let event = self
            .stamp
            .event(&self.device, telemetry, peers.ids.as_ref(), now);
        self.event_bytes = self.event_bytes.saturating_add(event.body.len());
        self.events.push((tag, event));
    }

    /// Settles a delivered message; ignored when this session does not hold it (any more).
    /// Answers whether it was held.
    pub fn settle(&mut self, token: LockToken, verdict: Verdict) -> bool {
        let settlement = self.window.settle(token, verdict);
        if settlement.is_some() {
            self.note_activity();
        }
        self.settlements.extend(settlement);
        settlement.is_some()
    }

    /// Gives back a message that did not go out before its lock ended: it used up no credit, and
    /// the queue has it for another receive.
    pub fn return_undelivered(&mut self, token: LockToken) {
        self.settle(token, Verdict::ReleaseUndelivered);
        self.window.return_credit();
    }

    /// States how many messages the peer can take now; MQTT never calls it.
    pub fn set_credit(&mut self, credit: u32) {
        self.window.set_credit(credit);
    }

    /// Answers a method call; an unknown or expired request id is ignored.
    ///
    /// Returns whether `answer` can be one, whoever waits for it: one that is too large or no JSON
    /// ends its call as [`MethodError::BadAnswer`].
    pub fn answer(&mut self, rid: u64, answer: MethodAnswer) -> bool {
        self.note_activity();
        let is_json = answer.payload.is_empty()
            || serde_json::from_slice::<serde::de::IgnoredAny>(&answer.payload).is_ok();
        let is_sized = answer.payload.len() <= self.shared.options.max_method_bytes;
        let outcome = if is_json && is_sized {
            Ok(answer)
        } else {
            Err(MethodError::BadAnswer)
        };
        let is_answer = outcome.is_ok();
        self.open_calls.end(rid, outcome);
        is_answer
    }

    /// Ends a method call without an answer; an unknown or expired request id is ignored.
    pub fn fail_call(&mut self, rid: u64, error: MethodError) {
        self.open_calls.end(rid, Err(error));
    }

    /// Ends every open method call without an answer: the device cannot give any more.
    pub fn fail_calls(&mut self, error: MethodError) {
        self.open_calls.end_all(error);
    }

    /// Whether somebody still waits for the answer to a call.
    pub fn is_awaited(&self, rid: u64) -> bool {
        self.open_calls.is_awaited(rid)
    }

    /// Waits for the next thing to do, and keeps work flowing meanwhile.
    ///
    /// # Cancellation
    /// Safe: all state is in the session.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<SessionEvent<T>> {
        loop {
            if let Some(refused) = self.pace.next_refused() {
                return Poll::Ready(refused);
            }
            if let Some(change) = self.desired.next(self.connection.device) {
                return Poll::Ready(SessionEvent::Desired(change));
            }
            while let Poll::Ready(inbox) = self.handle.mailbox.poll_next(cx) {
                if let Some(event) = self.on_inbox(inbox) {
                    return Poll::Ready(event);
                }
            }
            self.start_work();
            match self.running.poll_next(cx) {
                Poll::Ready(Some(done)) => {
                    if let Some(event) = self.on_done(done) {
                        return Poll::Ready(event);
                    }
                }
                Poll::Ready(None) | Poll::Pending => {
                    self.tell_if_let_go();
                    return Poll::Pending;
                }
            }
        }
    }

    fn on_inbox(&mut self, inbox: Inbox) -> Option<SessionEvent<T>> {
        match inbox {
            Inbox::Wake => {
                self.window.hint();
                None
            }
            Inbox::Recheck => {
                self.wants_recheck = true;
                None
            }
            Inbox::Invoke(Invocation {
                name,
                payload,
                reply,
            }) => {
                if let Err(error) = self.method_turn() {
                    let _ = reply.send(Err(error));
                    return None;
                }
                let rid = self.open_calls.open(reply)?;
                self.note_activity();
                Some(SessionEvent::Invoke { rid, name, payload })
            }
            Inbox::Desired(change) => {
                let change = self.on_desired(change)?;
                self.note_activity();
                Some(SessionEvent::Desired(change))
            }
            Inbox::Close(reason) => {
                self.closed_by = Some(reason);
                self.let_go();
                Some(SessionEvent::Close(reason))
            }
        }
    }

    /// Gives back everything that is held and asks for nothing more: whoever takes the place of
    /// this connection waits for it. An acknowledgement that comes later finds nothing held.
    fn let_go(&mut self) {
        self.settlements.extend(self.window.release_all());
        self.window.end();
        if let Some(turn) = self.turn.take() {
            // A successor waits for this connection alone, so this one waits for those before it.
            self.window.end_after_wait();
            self.running.push(async move {
                turn.wait().await;
                Done::Withdrawn
            });
        }
    }

    /// Tells whoever waits for it that everything has been given back, once that is so.
    fn tell_if_let_go(&mut self) {
        let is_held = self.window.is_asking()
            || !self.settlements.is_empty()
            || self.running.has(Kind::Settling);
        if self.closed_by.is_some() && !self.has_let_go && !is_held {
            self.has_let_go = true;
            self.handle.returned();
        }
    }

    /// Tells whether what a connection that the hub ends was holding is still on its way back.
    pub fn is_letting_go(&self) -> bool {
        self.closed_by.is_some() && !self.has_let_go
    }

    fn on_done(&mut self, done: Done<T>) -> Option<SessionEvent<T>> {
        match done {
            Done::Received(asked, Ok(messages)) => {
                self.note_received(messages.len());
                let now = self.shared.peers.clock.now();
                match self.window.received(messages, asked, now) {
                    Received::Deliver(messages) if messages.is_empty() => None,
                    Received::Deliver(messages) => {
                        self.handle.activity().note(now);
                        Some(SessionEvent::Messages(messages))
                    }
                    Received::GoBack(settlements) => {
                        self.settlements.extend(settlements);
                        None
                    }
                }
            }
            Done::Received(_, Err(error)) => {
                debug!(%error, "receive failed, trying again");
                self.pause_receiving();
                None
            }
            Done::Withdrawn => {
                self.window.receive_withdrawn();
                None
            }
            Done::Retry => {
                self.window.pause_ended();
                None
            }
            Done::Settled(tokens, outcome) => {
                self.window.is_giving_back = false;
                let outcomes = outcome.unwrap_or_else(|error| {
                    warn!(%error, "settlements were lost, the locks will lapse");
                    vec![Err(SettleError::LockLost); tokens.len()]
                });
                Some(SessionEvent::Settled(
                    tokens.into_iter().zip(outcomes).collect(),
                ))
            }
            Done::Stored(tags, outcome) => Some(match outcome {
                Ok(()) => SessionEvent::Stored(tags),
                Err(error) => SessionEvent::NotStored(tags, error),
            }),
            Done::Ended(tag, outcome, base) => {
                self.on_ended(&outcome, base);
                Some(SessionEvent::Ended(tag, outcome))
            }
            Done::Paced | Done::TurnCame => None,
            Done::Lapse => {
                self.window.drop_lapsed(self.shared.peers.clock.now());
                None
            }
            Done::Rechecked(current) => {
                self.on_rechecked(*current);
                None
            }
            Done::CaughtUp(missed) => self.on_caught_up(*missed),
            Done::CatchUp => self.on_catch_up_due(),
        }
    }

    fn on_ended(&mut self, outcome: &OperationOutcome, base: Option<u64>) {
        if let OperationOutcome::Subscribed(outcome) = outcome {
            // Not before: until presence knew of the subscription, nobody was woken.
            self.window.hint();
            self.desired.subscribed(outcome.is_ok(), base);
        }
    }
}
