//! How a session begins and ends: presence, the gateway's own records, and what it leaves behind.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use downlink_domain::device::{Device, DeviceStatus};
use downlink_domain::id::{ConnectionId, GatewayId};
use downlink_domain::message::{Settlement, Verdict};
use downlink_domain::method::MethodError;
use downlink_domain::presence::{DisconnectReason, LeaseEpoch, Protocol, Subscriptions};
use downlink_ports::{DeviceConnection, Disconnect, PeerError};
use thiserror::Error;
use tokio::sync::oneshot;
use tracing::{debug, warn};

use super::calls::OpenCalls;
use super::messages::Window;
use super::running::{Done, Kind, Running};
use super::session::DeviceSession;
use super::telemetry::Stamp;
use crate::connections::{Handle, Outrun};
use crate::passages::Passage;
use crate::shared::Shared;

/// How long a session waits for messages that its predecessor held.
const TURN: Duration = Duration::from_secs(1);
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
pub(super) struct Turn {
    arrived: oneshot::Receiver<()>,
    predecessor: Option<oneshot::Receiver<()>>,
}

impl Turn {
    /// Waits at most a second: a predecessor that does not let go must not hold the device up.
    pub(super) async fn wait(self) {
        let Self {
            arrived,
            predecessor,
        } = self;
        let predecessor = async {
            if let Some(ended) = predecessor {
                let _ = ended.await;
            }
        };
        // A sender that is gone has nothing more to give back.
        let both = async { futures::join!(arrived, predecessor) };
        let _ = tokio::time::timeout(TURN, both).await;
    }
}

/// How a session ended, for the log line of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departing {
    /// What the hub asked for, `None` when the peer or its socket ended it.
    pub reason: Option<DisconnectReason>,
}

impl<T: Send + 'static> DeviceSession<T> {
    /// Enters the connection: takes an epoch, tells the superseded connection to close, makes
    /// `subscriptions` (from a stored session) known, and looks at the identity once more, since
    /// an order to disconnect that came before the entry found nobody.
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
        let unavailable = |error| OpenError::Unavailable(PeerError::from(error));
        let presence = Arc::clone(&shared.peers.presence);
        let id = ConnectionId(shared.peers.ids.connection_number());
        let own = shared.options.id.clone();
        let connected = presence.connect(device.key, own, id, protocol).await;
        let connected = connected.map_err(unavailable)?;
        let epoch = connected.epoch;
        let handle = Arc::new(Handle::new(id, epoch, subscriptions));
        let mut session = Self::new(shared, device, handle, protocol, stamp);
        let (told, arrived) = oneshot::channel();
        let noted = Passage::Arrived(session.connection.clone(), told);
        session.shared.passages.note(noted).await;
        let (shared, device) = (&session.shared, &session.device);
        if let Some(old) = connected
            .superseded
            .filter(|old| old.gateway != shared.options.id)
        {
            tell_superseded(shared, device, &old.gateway, old.epoch).await;
        }
        let entered = shared
            .connections
            .enter(device.key, Arc::clone(&session.handle));
        let predecessor = entered.map_err(|Outrun| OpenError::Superseded)?;
        session.turn = Some(Turn {
            arrived,
            predecessor: predecessor.and_then(|old| old.await_end()),
        });
        let twins = &shared.peers.twins;
        let (entered, current) = futures::join!(
            presence.subscribe(device.key, epoch, subscriptions),
            twins.find_device(device.hub.clone(), device.name.clone()),
        );
        entered.map_err(unavailable)?;
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
            device,
            handle,
            stamp,
            settlements: Vec::new(),
            events: Vec::new(),
            event_bytes: 0,
            operations: std::collections::VecDeque::new(),
            running: Running::default(),
            closed_by: None,
            turn: None,
            is_handed_over: false,
        }
    }

    /// Ends the session: open calls fail at once, held messages go back, the connection leaves
    /// presence. Work that was acknowledged to nobody is dropped.
    ///
    /// # Cancellation
    /// Safe: dropping a session does the same, only without waiting for what is on its way, and
    /// locks may then have to lapse.
    pub async fn close(mut self) -> Departing {
        self.fall_silent();
        let fetched = tokio::time::timeout(LAST_CALLS, self.last_calls()).await;
        let mut releases = fetched.unwrap_or_default();
        releases.extend(self.take_releases());
        let departed = self.departed(releases);
        self.is_handed_over = true;
        self.shared.passages.note(departed).await;
        self.leave();
        Departing {
            reason: self.closed_by,
        }
    }

    /// Waits for calls that change what is held; what a receive brings now never went out.
    async fn last_calls(&mut self) -> Vec<Settlement> {
        let mut undelivered = Vec::new();
        while self.window.is_asking()
            || self.running.has(Kind::Settling)
            || self.running.has(Kind::Storing)
        {
            match poll_fn(|cx| self.running.poll_next(cx)).await {
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
                Some(Done::Retry) => self.window.receive_failed(),
                Some(Done::Settled(..) | Done::Stored(..) | Done::Ended(..) | Done::Lapse) => {}
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

    /// Takes the connection out of the gateway's records, last of all: until then a successor finds
    /// it there and waits for what it held.
    fn leave(&self) {
        self.shared
            .connections
            .leave(self.device.key, self.handle.connection);
    }

    fn departed(&self, releases: Vec<Settlement>) -> Passage {
        Passage::Departed(self.connection.clone(), releases, self.handle.end())
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
        let releases = self.take_releases();
        let departed = self.departed(releases);
        if !self.shared.passages.try_note(departed) {
            warn!("an ended connection was not noted, its locks will lapse");
        }
        self.leave();
    }
}

fn is_same_credential(current: &Device, connecting: &Device) -> bool {
    current.key == connecting.key
        && current.status == DeviceStatus::Enabled
        && current.authentication == connecting.authentication
}

async fn tell_superseded(shared: &Shared, device: &Device, gateway: &GatewayId, epoch: LeaseEpoch) {
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
