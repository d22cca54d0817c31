//! How a session begins and ends: presence, the gateway's own records, and what it leaves behind.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use downlink_domain::device::{Device, DeviceStatus};
use downlink_domain::id::{ConnectionId, DeviceKey};
use downlink_domain::message::Settlement;
use downlink_domain::method::MethodError;
use downlink_domain::presence::{ConnectionEnd, DisconnectReason, Protocol, Route, Subscriptions};
use downlink_ports::{DeviceConnection, Disconnect, Gateways, PeerError, Restored, StoreError};
use downlink_runtime::OnError;
use futures::future::join_all;
use thiserror::Error;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tracing::debug;

use super::calls::OpenCalls;
use super::desired::DesiredFeed;
use super::messages::{Received, Window};
use super::pace::Pace;
use super::running::{Done, Kind, Running};
use super::session::DeviceSession;
use super::telemetry::Stamp;
use crate::connections::{Handle, Outrun};
use crate::passages::Passage;
use crate::shared::Shared;

/// How long a session waits for messages that its predecessors held; longer than another gateway
/// takes to answer that they are back, or that they are not.
const TURN: Duration = Duration::from_millis(1500);
/// How long presence may take. Without an epoch from it nothing orders a connection among those of
/// its device, so nobody is let in while it is away: a client is told at once and comes again.
const PRESENCE_DEADLINE: Duration = Duration::from_secs(2);
/// How long another gateway may take to answer that a connection there is superseded.
const TELL_DEADLINE: Duration = Duration::from_secs(2);
/// Pauses between the tries to tell it: a gateway may be new, or stand still for a moment. After
/// them its own look at presence finds what it was not told.
const TELL_PAUSES: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
];
/// How long the end of a session waits for calls that are on their way.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// Why a session could not begin.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A service cannot be reached; the device should try again.
    #[error("cannot enter the connection")]
    Unavailable(#[source] PeerError),
    /// A newer connection of the same identity is here already.
    #[error("superseded by a newer connection")]
    Superseded,
    /// The identity was deleted, disabled or re-keyed while it connected.
    #[error("the identity changed while it connected")]
    Revoked,
}

/// What a session waits for before it asks for messages: what earlier connections of the device
/// held must be back in the queue, or later messages would overtake it.
#[derive(Debug)]
pub(super) struct Turn(Vec<oneshot::Receiver<()>>);

impl Turn {
    /// Waits, but not for long: a predecessor that does not let go must not hold the device up.
    pub(super) async fn wait(self) {
        // A sender that is gone has nothing more to give back.
        let _ = timeout(TURN, join_all(self.0)).await;
    }
}

/// How a session ended, for the log line of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departing {
    /// What the hub asked for, `None` when the peer or its socket ended it.
    pub reason: Option<DisconnectReason>,
}

impl<T: Send + 'static> DeviceSession<T> {
    /// Enters the connection: takes an epoch, has the superseded connection told to close, makes
    /// `subscriptions` (from a stored session) known, and looks at the identity once more, since
    /// an order to disconnect that came before the entry found nobody.
    ///
    /// What the superseded connection held is waited for before messages are asked for, not here.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is left behind then.
    ///
    /// # Cancellation
    /// Safe: what was entered is taken back.
    pub async fn open(
        shared: Arc<Shared>,
        device: Device,
        protocol: Protocol,
        subscriptions: Subscriptions,
        stamp: Stamp,
    ) -> Result<Self, OpenError> {
        let admitted = shared.limits.connect(&device).await;
        admitted.map_err(|throttled| OpenError::Unavailable(throttled.into()))?;
        let presence = Arc::clone(&shared.peers.presence);
        let id = ConnectionId(shared.peers.ids.connection_number());
        let own = shared.options.id.clone();
        let generation = shared.standing.generation();
        let connected = in_time(presence.connect(device.key, own, id, protocol)).await?;
        let epoch = connected.epoch;
        let credential = stamp.credential();
        let handle = Handle::new(id, epoch, protocol, subscriptions).living_by(credential);
        let handle = Arc::new(handle);
        let mut session = Self::new(shared, device, handle, protocol, stamp);
        let (told, arrived) = oneshot::channel();
        let noted = Passage::Arrived(session.connection.clone(), told);
        session.shared.passages.note(noted).await;
        let (shared, device) = (&session.shared, &session.device);
        let elsewhere = connected
            .superseded
            .filter(|old| old.gateway != shared.options.id)
            .map(|old| tell_superseded(shared, device.key, old));
        let entered = shared
            .connections
            .enter(device.key, Arc::clone(&session.handle));
        let here = entered.map_err(|Outrun| OpenError::Superseded)?;
        let here = here.and_then(|old| old.await_return());
        // A view that came before the entry found nobody.
        if !shared.access.is_alive(credential) {
            return Err(OpenError::Revoked);
        }
        let turn = [Some(arrived), elsewhere, here].into_iter().flatten();
        session.turn = Some(Turn(turn.collect()));
        if shared.standing.generation() != generation {
            // The entry may be lost, and the walk that writes all of them again may have passed.
            let entry = vec![(device.key, session.handle.route(&shared.options.id))];
            if in_time(presence.restore(entry)).await? == [Restored::Superseded] {
                return Err(OpenError::Superseded);
            }
        }
        let twins = &shared.peers.twins;
        let (entered, current) = futures::join!(
            in_time(presence.subscribe(device.key, epoch, subscriptions)),
            twins.find_device(device.hub.clone(), device.name.clone()),
        );
        entered?;
        let current = current.map_err(OpenError::Unavailable)?;
        if !current.is_some_and(|current| is_same_credential(&current, device)) {
            return Err(OpenError::Revoked);
        }
        Ok(session)
    }

    fn new(
        shared: Arc<Shared>,
        device: Device,
        handle: Arc<Handle>,
        protocol: Protocol,
        stamp: Stamp,
    ) -> Self {
        let mut window = Window::new(device.key, shared.options.c2d_window);
        let desired = Box::new(DesiredFeed::new(handle.subscriptions().desired));
        // What waits from before is found by asking.
        window.hint();
        Self {
            connection: DeviceConnection {
                device: device.key,
                hub: device.hub.clone(),
                name: device.name.clone(),
                epoch: handle.epoch,
                protocol,
            },
            window,
            open_calls: OpenCalls::new(handle.connection.0),
            shared,
            device: Box::new(device),
            handle,
            stamp,
            settlements: Vec::new(),
            events: Vec::new(),
            event_bytes: 0,
            operations: std::collections::VecDeque::new(),
            pace: Pace::default(),
            running: Running::default(),
            desired,
            closed_by: None,
            ended_by: None,
            wants_recheck: false,
            turn: None,
            has_let_go: false,
            is_handed_over: false,
        }
    }

    /// Ends the session: open calls fail at once, held messages go back, the connection leaves
    /// presence. Telemetry that was taken is still stored; other work that was acknowledged to
    /// nobody is dropped.
    ///
    /// # Cancellation
    /// Safe: dropping a session does the same, only without waiting for what is on its way, and
    /// locks may then have to lapse.
    pub async fn close(mut self) -> Departing {
        self.fall_silent();
        let fetched = timeout(LAST_CALLS, self.last_calls()).await;
        let mut releases = fetched.unwrap_or_default();
        releases.extend(self.take_releases());
        self.park_pace();
        let departed = self.departed(releases);
        self.is_handed_over = true;
        self.shared.passages.note(departed).await;
        Departing {
            reason: self.closed_by,
        }
    }

    /// Waits for calls that change what is held; what a receive brings now never went out.
    async fn last_calls(&mut self) -> Vec<Settlement> {
        self.window.end();
        let mut undelivered = Vec::new();
        loop {
            // A client that settles what it sends, and leaves, counts on it.
            self.start_storing();
            let is_waiting = self.window.is_asking()
                || self.running.has(Kind::Settling)
                || self.running.has(Kind::Storing)
                || self.running.has(Kind::Pacing);
            if !is_waiting {
                break;
            }
            match poll_fn(|cx| self.running.poll_next(cx)).await {
                Some(Done::Received(asked, messages)) => {
                    let now = self.shared.peers.clock.now();
                    let messages = messages.unwrap_or_default();
                    if let Received::GoBack(back) = self.window.received(messages, asked, now) {
                        undelivered.extend(back);
                    }
                }
                Some(Done::Withdrawn) => self.window.receive_withdrawn(),
                Some(
                    Done::Retry
                    | Done::Settled(..)
                    | Done::Stored(..)
                    | Done::Ended(..)
                    | Done::Lapse
                    | Done::Rechecked(..)
                    | Done::CaughtUp(..)
                    | Done::CatchUp
                    | Done::Paced
                    | Done::TurnCame,
                ) => {}
                None => break,
            }
        }
        undelivered
    }
}

impl<T> DeviceSession<T> {
    /// Ends the calls of the connection and takes no more.
    fn fall_silent(&mut self) {
        let lost = match self.closed_by {
            Some(DisconnectReason::Superseded) => MethodError::Superseded,
            _ => MethodError::ConnectionLost,
        };
        // Calls still in the mailbox never reached the device.
        for call in self.handle.mailbox.shut() {
            let _ = call.reply.send(Err(MethodError::NotOnline));
        }
        self.open_calls.end_all(lost);
    }

    /// The end of the connection. Until it has been worked off, the gateway's records keep the
    /// handle: a successor finds it there and waits for what it held.
    fn departed(&self, releases: Vec<Settlement>) -> Passage {
        self.handle.begin_end();
        self.handle.set_subscriptions(Subscriptions::default());
        let handle = Arc::clone(&self.handle);
        Passage::Departed(self.connection.clone(), releases, handle, self.end())
    }

    /// Why the connection ended.
    fn end(&self) -> ConnectionEnd {
        let ordered = self.closed_by.map(ConnectionEnd::Ordered);
        ordered.or(self.ended_by).unwrap_or(ConnectionEnd::Lost)
    }

    fn take_releases(&mut self) -> Vec<Settlement> {
        let mut releases = std::mem::take(&mut self.settlements);
        releases.extend(self.window.release_all());
        releases
    }
}

/// A session that was not closed: its connect was cut off by a deadline, or its task by a halt.
impl<T> Drop for DeviceSession<T> {
    fn drop(&mut self) {
        if self.is_handed_over {
            return;
        }
        self.fall_silent();
        self.park_pace();
        let releases = self.take_releases();
        let departed = self.departed(releases);
        if let Err(departed) = self.shared.passages.try_note(departed) {
            // There are no more of these than there were connections.
            let passages = self.shared.passages.clone();
            let noting = async move { passages.note(*departed).await };
            let scope = &self.shared.lifecycle;
            scope.spawn("late departure", OnError::Log, noting);
        }
    }
}

fn is_same_credential(current: &Device, connecting: &Device) -> bool {
    current.key == connecting.key
        && current.status == DeviceStatus::Enabled
        && current.authentication == connecting.authentication
}

async fn in_time<T>(asked: impl Future<Output = Result<T, StoreError>>) -> Result<T, OpenError> {
    let answer = timeout(PRESENCE_DEADLINE, asked).await;
    let late = PeerError::DeadlineExceeded {
        service: "presence",
    };
    let answer = answer.map_err(|_| OpenError::Unavailable(late))?;
    answer.map_err(|error| OpenError::Unavailable(error.into()))
}

/// Has the connection on another gateway told that it is superseded, in a task of its own: the
/// device is let in meanwhile. The returned wait ends with the first answer.
fn tell_superseded(shared: &Shared, device: DeviceKey, old: Route) -> oneshot::Receiver<()> {
    let (told, hears) = oneshot::channel();
    let gateways = Arc::clone(&shared.peers.gateways);
    let drain = shared.lifecycle.drain_token();
    let telling = async move {
        let mut told = Some(told);
        let mut pauses = TELL_PAUSES.into_iter();
        loop {
            let is_told = order_to_close(&*gateways, device, &old).await;
            if let Some(told) = told.take() {
                let _ = told.send(());
            }
            let Some(pause) = pauses.next().filter(|_| !is_told) else {
                return;
            };
            if drain.run_until_cancelled(sleep(pause)).await.is_none() {
                return;
            }
        }
    };
    shared
        .lifecycle
        .spawn("tell superseded", OnError::Log, telling);
    hears
}

async fn order_to_close(gateways: &dyn Gateways, device: DeviceKey, old: &Route) -> bool {
    let Some(other) = gateways.find(&old.gateway) else {
        debug!(gateway.id = %old.gateway, "a superseded connection is on a gateway that is not known");
        return false;
    };
    let order = Disconnect {
        device,
        up_to: old.epoch,
        reason: DisconnectReason::Superseded,
    };
    match timeout(TELL_DEADLINE, other.disconnect(vec![order])).await {
        Ok(Ok(())) => true,
        Ok(Err(error)) => {
            debug!(%error, gateway.id = %old.gateway, "cannot tell the superseded connection");
            false
        }
        Err(_) => false,
    }
}
