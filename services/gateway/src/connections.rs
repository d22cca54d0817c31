//! The device connections that this gateway holds.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU8, Ordering};

use downlink_domain::Timestamp;
use downlink_domain::id::{ConnectionId, DeviceKey, GatewayId};
use downlink_domain::presence::{DisconnectReason, LeaseEpoch, Protocol, Route, Subscriptions};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

use crate::authenticate::CredentialId;
use crate::mailbox::Mailbox;

const SHARDS: usize = 64;

/// One device connection, as the rest of the gateway sees it.
#[derive(Debug)]
pub struct Handle {
    /// Which connection.
    pub connection: ConnectionId,
    /// Order among the device's connections.
    pub epoch: LeaseEpoch,
    /// What the hub wants of it.
    pub mailbox: Mailbox,
    credential: CredentialId,
    /// Subscriptions, protocol and whether it is ending, in one byte.
    facts: AtomicU8,
    /// When the device last sent or received, and whether that is yet to be told; see [`Activity`].
    activity: Activity,
    holding: Mutex<Holding>,
}

/// Whether the connection may still hold messages, and who waits for them.
#[derive(Debug)]
enum Holding {
    /// It may; these are told when it no longer does.
    Awaited(Vec<oneshot::Sender<()>>),
    /// Everything has been given back.
    Returned,
}

/// Askers that may wait for one connection; one more takes the place of the first.
const MAX_ASKERS: usize = 8;

const SUBSCRIPTION_BITS: u8 = 0b0000_1111;
const PROTOCOL_SHIFT: u32 = 4;
const ENDING_BIT: u8 = 0b0100_0000;

impl Handle {
    /// Makes the handle of a connection that has asked for `subscriptions`.
    pub fn new(
        connection: ConnectionId,
        epoch: LeaseEpoch,
        protocol: Protocol,
        subscriptions: Subscriptions,
    ) -> Self {
        let facts = to_bits(subscriptions) | protocol_bits(protocol) << PROTOCOL_SHIFT;
        Self {
            connection,
            epoch,
            mailbox: Mailbox::default(),
            credential: CredentialId::OWN,
            facts: AtomicU8::new(facts),
            activity: Activity::default(),
            holding: Mutex::new(Holding::Awaited(Vec::new())),
        }
    }

    /// Notes by what the connection lives, besides its identity.
    #[must_use]
    pub fn living_by(mut self, credential: CredentialId) -> Self {
        self.credential = credential;
        self
    }

    /// By what the connection lives.
    pub fn credential(&self) -> CredentialId {
        self.credential
    }

    /// When the device last sent or received.
    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Asks to be told when what the connection holds has been given back; `None` when it has
    /// been already.
    pub fn await_return(&self) -> Option<oneshot::Receiver<()>> {
        let mut holding = self.holding.lock();
        let Holding::Awaited(askers) = &mut *holding else {
            return None;
        };
        if askers.len() >= MAX_ASKERS {
            // Its wait ends early; it has waited longest.
            askers.remove(0);
        }
        let (told, hears) = oneshot::channel();
        askers.push(told);
        Some(hears)
    }

    /// Notes that everything has been given back, and tells who waits.
    pub fn returned(&self) {
        let holding = std::mem::replace(&mut *self.holding.lock(), Holding::Returned);
        if let Holding::Awaited(askers) = holding {
            for told in askers {
                // Who no longer waits needs no word.
                let _ = told.send(());
            }
        }
    }

    /// Notes that the connection is about to leave presence; its entry is not to be written again.
    pub fn begin_end(&self) {
        self.facts.fetch_or(ENDING_BIT, Ordering::AcqRel);
    }

    /// Tells whether the connection has left presence or is about to.
    pub fn is_ending(&self) -> bool {
        self.facts.load(Ordering::Acquire) & ENDING_BIT != 0
    }

    /// What the connection speaks.
    pub fn protocol(&self) -> Protocol {
        match self.facts.load(Ordering::Relaxed) >> PROTOCOL_SHIFT & 0b11 {
            0 => Protocol::Mqtt,
            1 => Protocol::MqttWs,
            2 => Protocol::Amqp,
            _ => Protocol::AmqpWs,
        }
    }

    /// What the connection has asked for.
    pub fn subscriptions(&self) -> Subscriptions {
        let bits = self.facts.load(Ordering::Acquire);
        Subscriptions {
            c2d: bits & 1 != 0,
            methods: bits & 2 != 0,
            desired: bits & 4 != 0,
            twin_replies: bits & 8 != 0,
        }
    }

    /// Notes what the connection asks for now. Only its own session calls it.
    pub fn set_subscriptions(&self, subscriptions: Subscriptions) {
        let bits = to_bits(subscriptions);
        self.facts.fetch_or(bits, Ordering::AcqRel);
        self.facts
            .fetch_and(!SUBSCRIPTION_BITS | bits, Ordering::AcqRel);
    }

    /// The entry of the connection in presence.
    pub fn route(&self, gateway: &GatewayId) -> Route {
        Route {
            gateway: gateway.clone(),
            connection: self.connection,
            epoch: self.epoch,
            protocol: self.protocol(),
            subscriptions: self.subscriptions(),
        }
    }
}

fn to_bits(subscriptions: Subscriptions) -> u8 {
    u8::from(subscriptions.c2d)
        | u8::from(subscriptions.methods) << 1
        | u8::from(subscriptions.desired) << 2
        | u8::from(subscriptions.twin_replies) << 3
}

fn protocol_bits(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Mqtt => 0,
        Protocol::MqttWs => 1,
        Protocol::Amqp => 2,
        Protocol::AmqpWs => 3,
    }
}

/// When a device last sent or received; one atomic write each time, and the word of it when somebody
/// comes round to ask.
#[derive(Debug, Default)]
pub struct Activity {
    /// Milliseconds, doubled; odd while it is untold. 0 when there was none.
    doubled: AtomicI64,
}

impl Activity {
    /// Notes that the device is active; an earlier instant changes nothing.
    pub fn note(&self, at: Timestamp) {
        let doubled = at.as_millis().saturating_mul(2) | 1;
        self.doubled.fetch_max(doubled, Ordering::Relaxed);
    }

    /// The last instant, [`Timestamp::UNSET`] when there was none.
    pub fn last(&self) -> Timestamp {
        Self::instant(self.doubled.load(Ordering::Relaxed))
    }

    /// The last instant if it is untold; it counts as told then.
    pub fn take_untold(&self) -> Option<Timestamp> {
        let before = self.doubled.fetch_and(!1, Ordering::Relaxed);
        (before & 1 == 1).then(|| Self::instant(before))
    }

    fn instant(doubled: i64) -> Timestamp {
        match doubled {
            0 => Timestamp::UNSET,
            doubled => Timestamp::from_millis(doubled >> 1),
        }
    }
}

/// A newer connection of the same device is here already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outrun;

/// All device connections of this gateway, at most one per device. Its size is bounded by the
/// listeners' bound on open connections.
#[derive(Debug)]
pub struct Connections {
    shards: Vec<RwLock<HashMap<DeviceKey, Arc<Handle>>>>,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
        }
    }
}

impl Connections {
    fn shard(&self, device: DeviceKey) -> &RwLock<HashMap<DeviceKey, Arc<Handle>>> {
        let index = usize::try_from(device.0.rem_euclid(64)).unwrap_or(0);
        &self.shards[index % SHARDS]
    }

    /// Enters a connection, tells the one it supersedes to close, and returns that one.
    ///
    /// # Errors
    /// [`Outrun`] when a newer one is here already; the newcomer must close then.
    pub fn enter(
        &self,
        device: DeviceKey,
        handle: Arc<Handle>,
    ) -> Result<Option<Arc<Handle>>, Outrun> {
        let superseded = match self.shard(device).write().entry(device) {
            Entry::Vacant(vacant) => {
                vacant.insert(handle);
                None
            }
            Entry::Occupied(occupied) if occupied.get().epoch > handle.epoch => {
                return Err(Outrun);
            }
            Entry::Occupied(mut occupied) => Some(occupied.insert(handle)),
        };
        if let Some(old) = &superseded {
            old.mailbox.close(DisconnectReason::Superseded);
        }
        Ok(superseded)
    }

    /// Removes a connection; a successor of it stays.
    pub fn leave(&self, device: DeviceKey, connection: ConnectionId) {
        if let Entry::Occupied(occupied) = self.shard(device).write().entry(device)
            && occupied.get().connection == connection
        {
            occupied.remove();
        }
    }

    /// The connection of a device, if it is here.
    pub fn find(&self, device: DeviceKey) -> Option<Arc<Handle>> {
        self.shard(device).read().get(&device).cloned()
    }

    /// Wakes the connections of shard `index` that take messages: the slow sweep that finds what
    /// a lost wake-up missed. There are [`Self::SHARDS`] shards.
    pub fn wake_shard(&self, index: usize) {
        let Some(shard) = self.shards.get(index) else {
            return;
        };
        for handle in shard.read().values() {
            if handle.subscriptions().c2d {
                handle.mailbox.wake();
            }
        }
    }

    /// Wakes the shard of a device.
    #[cfg(test)]
    pub fn wake_shard_of(&self, device: DeviceKey) {
        let index = usize::try_from(device.0.rem_euclid(64)).unwrap();
        self.wake_shard(index % SHARDS);
    }

    /// The connections of shard `index` that are not about to leave presence.
    pub fn of_shard(&self, index: usize) -> Vec<(DeviceKey, Arc<Handle>)> {
        let Some(shard) = self.shards.get(index) else {
            return Vec::new();
        };
        let shard = shard.read();
        let live = shard.iter().filter(|(_, handle)| !handle.is_ending());
        live.map(|(device, handle)| (*device, Arc::clone(handle)))
            .collect()
    }

    /// Has those connections of shard `index` end that `is_over` says; returns how many were not ending already.
    pub fn close_where(
        &self,
        index: usize,
        reason: DisconnectReason,
        is_over: impl Fn(&Handle) -> bool,
    ) -> usize {
        let Some(shard) = self.shards.get(index) else {
            return 0;
        };
        let shard = shard.read();
        let over = shard.values().filter(|handle| is_over(handle));
        over.filter(|handle| handle.mailbox.close(reason)).count()
    }

    /// How many connections there are.
    pub fn count(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().len()).sum()
    }

    /// How many shards [`Self::wake_shard`] and [`Self::of_shard`] know.
    pub const SHARDS: usize = SHARDS;
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::mailbox::Inbox;

    fn handle(connection: u64, epoch: u64) -> Arc<Handle> {
        let (connection, epoch) = (ConnectionId(connection), LeaseEpoch(epoch));
        let none = Subscriptions::default();
        Arc::new(Handle::new(connection, epoch, Protocol::Mqtt, none))
    }

    #[test]
    fn a_handle_keeps_its_protocol_and_its_end_whatever_is_subscribed() {
        let all = [
            Protocol::Mqtt,
            Protocol::MqttWs,
            Protocol::Amqp,
            Protocol::AmqpWs,
        ];
        for protocol in all {
            let wanted = Subscriptions {
                methods: true,
                ..Subscriptions::default()
            };
            let handle = Handle::new(ConnectionId(1), LeaseEpoch(1), protocol, wanted);
            let next = Subscriptions {
                c2d: true,
                twin_replies: true,
                ..Subscriptions::default()
            };
            handle.set_subscriptions(next);
            assert_eq!(
                (
                    handle.protocol(),
                    handle.subscriptions(),
                    handle.is_ending()
                ),
                (protocol, next, false)
            );
            handle.begin_end();
            handle.set_subscriptions(wanted);
            assert_eq!(
                (
                    handle.protocol(),
                    handle.subscriptions(),
                    handle.is_ending()
                ),
                (protocol, wanted, true)
            );
        }
    }

    #[test]
    fn activity_is_told_once_and_moves_forward_only() {
        let (at, later) = (Timestamp::from_millis(1_000), Timestamp::from_millis(1_001));
        let activity = Activity::default();
        assert_eq!(
            (activity.last(), activity.take_untold()),
            (Timestamp::UNSET, None)
        );
        activity.note(later);
        activity.note(at);
        assert_eq!(activity.take_untold(), Some(later));
        assert_eq!((activity.last(), activity.take_untold()), (later, None));
        activity.note(at);
        assert_eq!(activity.take_untold(), None);
    }

    #[test]
    fn all_who_wait_for_what_a_connection_holds_are_told() {
        let handle = handle(1, 1);
        let mut waiting: Vec<_> = (0..3).map(|_| handle.await_return().unwrap()).collect();
        assert!(waiting.iter_mut().all(|hears| hears.try_recv().is_err()));
        handle.returned();
        assert!(waiting.iter_mut().all(|hears| hears.try_recv().is_ok()));
        assert!(handle.await_return().is_none());
    }

    #[test]
    fn the_newer_connection_wins_and_the_older_is_told() {
        let connections = Connections::default();
        let (old, new) = (handle(1, 1), handle(2, 2));
        assert!(
            connections
                .enter(DeviceKey(7), Arc::clone(&old))
                .unwrap()
                .is_none()
        );
        let superseded = connections.enter(DeviceKey(7), new).unwrap();
        assert_eq!(superseded.unwrap().connection, ConnectionId(1));
        let next = old.mailbox.poll_next(&Context::from_waker(Waker::noop()));
        assert!(matches!(
            next,
            Poll::Ready(Inbox::Close(DisconnectReason::Superseded))
        ));
        let held = connections.find(DeviceKey(7)).unwrap();
        assert_eq!(held.connection, ConnectionId(2));
    }

    #[test]
    fn a_late_older_connection_does_not_enter() {
        let connections = Connections::default();
        connections.enter(DeviceKey(7), handle(2, 2)).unwrap();
        assert_eq!(
            connections.enter(DeviceKey(7), handle(1, 1)).unwrap_err(),
            Outrun
        );
    }

    #[test]
    fn a_late_goodbye_leaves_the_successor_alone() {
        let connections = Connections::default();
        connections.enter(DeviceKey(7), handle(1, 1)).unwrap();
        connections.enter(DeviceKey(7), handle(2, 2)).unwrap();
        connections.leave(DeviceKey(7), ConnectionId(1));
        assert!(connections.find(DeviceKey(7)).is_some());
        connections.leave(DeviceKey(7), ConnectionId(2));
        assert!(connections.find(DeviceKey(7)).is_none());
    }
}
