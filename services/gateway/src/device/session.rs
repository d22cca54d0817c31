//! The session of one connected device; see [`crate::device`].

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use downlink_domain::device::Device;
use downlink_domain::event::Event;
use downlink_domain::id::{ConnectionId, LockToken};
use downlink_domain::message::{Settlement, Verdict};
use downlink_domain::method::{MethodAnswer, MethodError, MethodName};
use downlink_domain::presence::{DisconnectReason, LeaseEpoch, Protocol, Subscriptions};
use downlink_domain::twin::{Twin, TwinChange};
use downlink_ports::{
    DeviceConnection, Disconnect, LockedMessage, Notify, PeerError, ReceiveCall, SettleError,
};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use thiserror::Error;
use tracing::{debug, warn};

use super::calls::OpenCalls;
use super::messages::Window;
use super::telemetry::{Stamp, Telemetry};
use crate::connections::Handle;
use crate::mailbox::{Inbox, Invocation};
use crate::passages::Passage;
use crate::shared::Shared;

/// Telemetry that may wait to be stored, and twin requests that may wait their turn; a door reads
/// no further from its socket while [`DeviceSession::is_busy`].
const MAX_WAITING: usize = 256;
/// Bytes of telemetry that may wait.
const MAX_WAITING_BYTES: usize = 1024 * 1024;
/// Pause before a failed receive is made again.
const RETRY: Duration = Duration::from_secs(1);
/// How long the end of a session waits for calls that are on their way.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// Why a session could not begin.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A service cannot be reached; the device should try again.
    #[error("cannot enter the connection")]
    Unavailable(#[source] downlink_ports::StoreError),
    /// A newer connection of the same identity is here already.
    #[error("superseded by a newer connection")]
    Superseded,
}

/// A request whose order matters; operations of one session run one after another.
#[derive(Debug)]
pub enum Operation {
    /// Change what the connection has asked for; `session` is the MQTT session to store, if it
    /// is to be stored, `Some(None)` removes it.
    Subscribe {
        /// The whole set after the change.
        subscriptions: Subscriptions,
        /// What to do with the stored session.
        session: Option<Option<Bytes>>,
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

enum Done<T> {
    Received(u16, Result<Vec<LockedMessage>, PeerError>),
    Settled(
        Vec<LockToken>,
        Result<Vec<Result<(), SettleError>>, PeerError>,
    ),
    Stored(Vec<T>, Result<(), PeerError>),
    Ended(T, OperationOutcome),
    Lapse,
    Retry,
}

type Call<T> = Pin<Box<dyn Future<Output = Done<T>> + Send>>;

/// A connected device, without its protocol. `T` is what the door needs to find its way back from
/// an answer: a packet id, a request id.
pub struct DeviceSession<T> {
    shared: Arc<Shared>,
    device: Device,
    connection: DeviceConnection,
    handle: Arc<Handle>,
    stamp: Stamp,
    window: Window,
    open_calls: OpenCalls,
    settlements: Vec<Settlement>,
    events: Vec<(T, Event)>,
    event_bytes: usize,
    operations: VecDeque<(T, Operation)>,
    running: FuturesUnordered<Call<T>>,
    is_settling: bool,
    is_storing: bool,
    is_operating: bool,
    has_lapse_timer: bool,
    closed_by: Option<DisconnectReason>,
}

impl<T: Send + 'static> DeviceSession<T> {
    /// Enters the connection: takes an epoch, tells the superseded connection to close, and makes
    /// `subscriptions` (from a stored session) known.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is left behind then.
    pub async fn open(
        shared: Arc<Shared>,
        device: Device,
        protocol: Protocol,
        subscriptions: Subscriptions,
        stamp: Stamp,
    ) -> Result<Self, OpenError> {
        let peers = &shared.peers;
        let id = ConnectionId(peers.ids.connection_number());
        let gateway = shared.options.id.clone();
        let connected = peers
            .presence
            .connect(device.key, gateway, id, protocol)
            .await;
        let connected = connected.map_err(OpenError::Unavailable)?;
        let epoch = connected.epoch;
        if let Some(old) = connected
            .superseded
            .filter(|old| old.gateway != shared.options.id)
        {
            tell_superseded(&shared, &device, &old.gateway, old.epoch).await;
        }
        let handle = Arc::new(Handle::new(id, epoch, subscriptions));
        if !shared.connections.enter(device.key, Arc::clone(&handle)) {
            return Err(OpenError::Superseded);
        }
        let connection = DeviceConnection {
            device: device.key,
            hub: device.hub.clone(),
            name: device.name.clone(),
            epoch,
            protocol,
        };
        let mut window = Window::new(device.key, shared.options.c2d_window);
        window.hint();
        let session = Self {
            window,
            open_calls: OpenCalls::new(id.0),
            shared: Arc::clone(&shared),
            device,
            connection: connection.clone(),
            handle,
            stamp,
            settlements: Vec::new(),
            events: Vec::new(),
            event_bytes: 0,
            operations: VecDeque::new(),
            running: FuturesUnordered::new(),
            is_settling: false,
            is_storing: false,
            is_operating: false,
            has_lapse_timer: false,
            closed_by: None,
        };
        let entered = shared
            .peers
            .presence
            .subscribe(connection.device, epoch, subscriptions);
        if let Err(error) = entered.await {
            session.close().await;
            return Err(OpenError::Unavailable(error));
        }
        shared.passages.note(Passage::Arrived(connection)).await;
        Ok(session)
    }

    /// The identity that is connected.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Order of this connection among the device's.
    pub fn epoch(&self) -> LeaseEpoch {
        self.connection.epoch
    }

    /// Tells whether the door should stop reading until something has been worked off.
    pub fn is_busy(&self) -> bool {
        self.events.len() >= MAX_WAITING
            || self.event_bytes >= MAX_WAITING_BYTES
            || self.operations.len() >= MAX_WAITING
    }

    /// Queues an operation; its end arrives as [`SessionEvent::Ended`] with `tag`.
    pub fn operate(&mut self, tag: T, operation: Operation) {
        self.operations.push_back((tag, operation));
    }

    /// Queues telemetry; [`SessionEvent::Stored`] names `tag` when it is on disk.
    pub fn store(&mut self, tag: T, telemetry: Telemetry) {
        let peers = &self.shared.peers;
        let now = peers.clock.now();
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
        self.settlements.extend(settlement);
        settlement.is_some()
    }

    /// States how many messages the peer can take now; MQTT never calls it.
    pub fn set_credit(&mut self, credit: u32) {
        self.window.set_credit(credit);
    }

    /// Answers a method call; an unknown or expired request id is ignored.
    pub fn answer(&mut self, rid: u64, answer: MethodAnswer) {
        let is_json = answer.payload.is_empty()
            || serde_json::from_slice::<serde::de::IgnoredAny>(&answer.payload).is_ok();
        let is_sized = answer.payload.len() <= self.shared.options.max_method_bytes;
        let outcome = if is_json && is_sized {
            Ok(answer)
        } else {
            Err(MethodError::BadAnswer)
        };
        self.open_calls.end(rid, outcome);
    }

    /// Waits for the next thing to do, and keeps work flowing meanwhile.
    ///
    /// # Cancellation
    /// Safe: all state is in the session.
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<SessionEvent<T>> {
        loop {
            while let Poll::Ready(inbox) = self.handle.mailbox.poll_next(cx) {
                if let Some(event) = self.on_inbox(inbox) {
                    return Poll::Ready(event);
                }
            }
            self.start_work();
            match self.running.poll_next_unpin(cx) {
                Poll::Ready(Some(done)) => {
                    if let Some(event) = self.on_done(done) {
                        return Poll::Ready(event);
                    }
                }
                Poll::Ready(None) | Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Ends the session: open calls fail at once, held messages go back, the connection leaves
    /// presence. Work that was acknowledged to nobody is dropped.
    pub async fn close(mut self) -> Departing {
        let reason = self.closed_by;
        let lost = match reason {
            Some(DisconnectReason::Superseded) => MethodError::Superseded,
            _ => MethodError::ConnectionLost,
        };
        self.shared
            .connections
            .leave(self.device.key, self.handle.connection);
        // Calls still in the mailbox never reached the device.
        for call in self.handle.mailbox.shut() {
            let _ = call.reply.send(Err(MethodError::NotOnline));
        }
        self.open_calls.end_all(lost);
        let fetched = tokio::time::timeout(LAST_CALLS, self.last_calls()).await;
        let mut releases = std::mem::take(&mut self.settlements);
        releases.extend(fetched.unwrap_or_default());
        releases.extend(self.window.release_all());
        let departed = Passage::Departed(self.connection.clone(), releases);
        self.shared.passages.note(departed).await;
        Departing { reason }
    }

    /// Waits for a receive that is on its way: what it brings never went out.
    async fn last_calls(&mut self) -> Vec<Settlement> {
        let mut undelivered = Vec::new();
        self.has_lapse_timer = false;
        while self.window.is_asking() || self.is_settling || self.is_storing {
            match self.running.next().await {
                Some(Done::Received(_, messages)) => {
                    self.window.receive_failed();
                    let messages = messages.unwrap_or_default();
                    undelivered.extend(messages.into_iter().map(|locked| Settlement {
                        device: locked.message.device,
                        sequence: locked.message.sequence,
                        token: locked.lock.token,
                        verdict: Verdict::ReleaseUndelivered,
                    }));
                }
                Some(Done::Settled(..)) => self.is_settling = false,
                Some(Done::Stored(..)) => self.is_storing = false,
                Some(Done::Retry) => self.window.receive_failed(),
                Some(_) => {}
                None => break,
            }
        }
        undelivered
    }

    fn on_inbox(&mut self, inbox: Inbox) -> Option<SessionEvent<T>> {
        match inbox {
            Inbox::Wake => {
                self.window.hint();
                None
            }
            Inbox::Invoke(Invocation {
                name,
                payload,
                reply,
            }) => {
                let rid = self.open_calls.open(reply)?;
                Some(SessionEvent::Invoke { rid, name, payload })
            }
            Inbox::Desired(change) => Some(SessionEvent::Desired(change)),
            Inbox::Close(reason) => {
                self.closed_by = Some(reason);
                Some(SessionEvent::Close(reason))
            }
        }
    }

    fn start_work(&mut self) {
        self.start_settling();
        self.start_storing();
        self.start_operation();
        self.start_receiving();
        self.start_lapse_timer();
    }

    fn start_settling(&mut self) {
        if self.is_settling || self.settlements.is_empty() {
            return;
        }
        self.is_settling = true;
        let settlements = std::mem::take(&mut self.settlements);
        let queue = Arc::clone(&self.shared.peers.queue);
        self.running.push(Box::pin(async move {
            let tokens = settlements
                .iter()
                .map(|settlement| settlement.token)
                .collect();
            Done::Settled(tokens, queue.settle(settlements).await)
        }));
    }

    fn start_storing(&mut self) {
        if self.is_storing || self.events.is_empty() {
            return;
        }
        self.is_storing = true;
        self.event_bytes = 0;
        let (tags, events) = std::mem::take(&mut self.events).into_iter().unzip();
        let queue = Arc::clone(&self.shared.peers.queue);
        self.running.push(Box::pin(async move {
            Done::Stored(tags, queue.record_events(events).await)
        }));
    }

    fn start_operation(&mut self) {
        if self.is_operating {
            return;
        }
        let Some((tag, operation)) = self.operations.pop_front() else {
            return;
        };
        self.is_operating = true;
        let shared = Arc::clone(&self.shared);
        let (key, epoch) = (self.connection.device, self.connection.epoch);
        if let Operation::Subscribe { subscriptions, .. } = &operation {
            self.handle.set_subscriptions(*subscriptions);
            self.window.hint();
        }
        self.running.push(Box::pin(async move {
            let twins = &shared.peers.twins;
            let outcome = match operation {
                Operation::GetTwin => {
                    OperationOutcome::Twin(Box::new(twins.get_own_twin(key).await))
                }
                Operation::Report(change) => {
                    OperationOutcome::Reported(twins.report(key, change).await)
                }
                Operation::Subscribe {
                    subscriptions,
                    session,
                } => {
                    let entered = shared.peers.presence.subscribe(key, epoch, subscriptions);
                    let stored = async {
                        match session {
                            None => Ok(()),
                            Some(session) => twins.save_sessions(vec![(key, session)]).await,
                        }
                    };
                    let (entered, stored) = futures::join!(entered, stored);
                    OperationOutcome::Subscribed(stored.and(entered.map_err(PeerError::from)))
                }
            };
            Done::Ended(tag, outcome)
        }));
    }

    fn start_receiving(&mut self) {
        if !self.handle.subscriptions().c2d {
            return;
        }
        let Some(limit) = self.window.begin_receive() else {
            return;
        };
        let queue = Arc::clone(&self.shared.peers.queue);
        let call = ReceiveCall {
            device: self.connection.device,
            limit,
            lock_duration: None,
        };
        self.running.push(Box::pin(async move {
            let received = queue.receive(vec![call]).await;
            Done::Received(
                limit,
                received.map(|mut lists| lists.pop().unwrap_or_default()),
            )
        }));
    }

    /// Wakes the session when the first lock ends, so that the message is asked for again.
    fn start_lapse_timer(&mut self) {
        if self.has_lapse_timer {
            return;
        }
        let Some(due) = self.window.next_lapse() else {
            return;
        };
        self.has_lapse_timer = true;
        let clock = Arc::clone(&self.shared.peers.clock);
        self.running.push(Box::pin(async move {
            clock.sleep_until(due).await;
            Done::Lapse
        }));
    }

    fn on_done(&mut self, done: Done<T>) -> Option<SessionEvent<T>> {
        match done {
            Done::Received(asked, Ok(messages)) => {
                self.window.received(&messages, asked);
                (!messages.is_empty()).then_some(SessionEvent::Messages(messages))
            }
            Done::Received(_, Err(error)) => {
                debug!(%error, "receive failed, trying again");
                let clock = Arc::clone(&self.shared.peers.clock);
                let due = clock.now() + RETRY;
                self.running.push(Box::pin(async move {
                    clock.sleep_until(due).await;
                    Done::Retry
                }));
                None
            }
            Done::Retry => {
                self.window.receive_failed();
                self.window.hint();
                None
            }
            Done::Settled(tokens, outcome) => {
                self.is_settling = false;
                let outcomes = outcome.unwrap_or_else(|error| {
                    warn!(%error, "settlements were lost, the locks will lapse");
                    vec![Err(SettleError::LockLost); tokens.len()]
                });
                Some(SessionEvent::Settled(
                    tokens.into_iter().zip(outcomes).collect(),
                ))
            }
            Done::Stored(tags, outcome) => {
                self.is_storing = false;
                Some(match outcome {
                    Ok(()) => SessionEvent::Stored(tags),
                    Err(error) => SessionEvent::NotStored(tags, error),
                })
            }
            Done::Ended(tag, outcome) => {
                self.is_operating = false;
                Some(SessionEvent::Ended(tag, outcome))
            }
            Done::Lapse => {
                self.has_lapse_timer = false;
                self.window.drop_lapsed(self.shared.peers.clock.now());
                None
            }
        }
    }
}

/// How a session ended, for the log line of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departing {
    /// What the hub asked for, `None` when the peer or its socket ended it.
    pub reason: Option<DisconnectReason>,
}

async fn tell_superseded(
    shared: &Shared,
    device: &Device,
    gateway: &downlink_domain::id::GatewayId,
    epoch: LeaseEpoch,
) {
    let Some(other) = shared.peers.gateways.find(gateway) else {
        return;
    };
    let order = Disconnect {
        device: device.key,
        up_to: epoch,
        reason: DisconnectReason::Superseded,
    };
    if let Err(error) = other.disconnect(vec![order]).await {
        debug!(%error, gateway.id = %gateway, "cannot tell the superseded connection");
    }
}
