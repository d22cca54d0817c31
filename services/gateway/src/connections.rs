//! The device connections that this gateway holds.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use downlink_domain::id::{ConnectionId, DeviceKey};
use downlink_domain::presence::{DisconnectReason, LeaseEpoch, Subscriptions};
use parking_lot::{Mutex, RwLock};
use tokio::sync::oneshot;

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
    subscriptions: AtomicU8,
    end: Mutex<End>,
}

/// Who hears of the end of a connection.
#[derive(Debug, Default)]
enum End {
    /// Nobody so far.
    #[default]
    Unheard,
    /// The connection that took its place.
    Awaited(oneshot::Sender<()>),
    /// It has ended.
    Past,
}

impl Handle {
    /// Makes the handle of a connection that has asked for `subscriptions`.
    pub fn new(connection: ConnectionId, epoch: LeaseEpoch, subscriptions: Subscriptions) -> Self {
        Self {
            connection,
            epoch,
            mailbox: Mailbox::default(),
            subscriptions: AtomicU8::new(to_bits(subscriptions)),
            end: Mutex::default(),
        }
    }

    /// Asks to be told when what the connection held has been given back; `None` when it has ended
    /// already. A later asker takes the place of an earlier one, whose wait then ends.
    pub fn await_end(&self) -> Option<oneshot::Receiver<()>> {
        let mut end = self.end.lock();
        if matches!(*end, End::Past) {
            return None;
        }
        let (told, hears) = oneshot::channel();
        *end = End::Awaited(told);
        Some(hears)
    }

    /// Ends the connection; returns who is to be told once what it held has been given back.
    pub fn end(&self) -> Option<oneshot::Sender<()>> {
        match std::mem::replace(&mut *self.end.lock(), End::Past) {
            End::Awaited(told) => Some(told),
            End::Unheard | End::Past => None,
        }
    }

    /// What the connection has asked for.
    pub fn subscriptions(&self) -> Subscriptions {
        let bits = self.subscriptions.load(Ordering::Acquire);
        Subscriptions {
            c2d: bits & 1 != 0,
            methods: bits & 2 != 0,
            desired: bits & 4 != 0,
            twin_replies: bits & 8 != 0,
        }
    }

    /// Notes what the connection asks for now.
    pub fn set_subscriptions(&self, subscriptions: Subscriptions) {
        self.subscriptions
            .store(to_bits(subscriptions), Ordering::Release);
    }
}

fn to_bits(subscriptions: Subscriptions) -> u8 {
    u8::from(subscriptions.c2d)
        | u8::from(subscriptions.methods) << 1
        | u8::from(subscriptions.desired) << 2
        | u8::from(subscriptions.twin_replies) << 3
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

    /// How many shards [`Self::wake_shard`] knows.
    pub const SHARDS: usize = SHARDS;
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::mailbox::Inbox;

    fn handle(connection: u64, epoch: u64) -> Arc<Handle> {
        let (connection, epoch) = (ConnectionId(connection), LeaseEpoch(epoch));
        Arc::new(Handle::new(connection, epoch, Subscriptions::default()))
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
