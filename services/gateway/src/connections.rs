//! The device connections that this gateway holds.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use downlink_domain::id::{ConnectionId, DeviceKey};
use downlink_domain::presence::{DisconnectReason, LeaseEpoch, Subscriptions};
use parking_lot::RwLock;

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
}

impl Handle {
    /// Makes the handle of a connection that has asked for `subscriptions`.
    pub fn new(connection: ConnectionId, epoch: LeaseEpoch, subscriptions: Subscriptions) -> Self {
        Self {
            connection,
            epoch,
            mailbox: Mailbox::default(),
            subscriptions: AtomicU8::new(to_bits(subscriptions)),
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

    /// Enters a connection and tells the one it supersedes to close. Answers `false` when a
    /// newer one is here already; the newcomer must close then.
    pub fn enter(&self, device: DeviceKey, handle: Arc<Handle>) -> bool {
        let superseded = match self.shard(device).write().entry(device) {
            Entry::Vacant(vacant) => {
                vacant.insert(handle);
                None
            }
            Entry::Occupied(occupied) if occupied.get().epoch > handle.epoch => return false,
            Entry::Occupied(mut occupied) => Some(occupied.insert(handle)),
        };
        if let Some(old) = superseded {
            old.mailbox.close(DisconnectReason::Superseded);
        }
        true
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
        assert!(connections.enter(DeviceKey(7), Arc::clone(&old)));
        assert!(connections.enter(DeviceKey(7), new));
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
        assert!(connections.enter(DeviceKey(7), handle(2, 2)));
        assert!(!connections.enter(DeviceKey(7), handle(1, 1)));
    }

    #[test]
    fn a_late_goodbye_leaves_the_successor_alone() {
        let connections = Connections::default();
        connections.enter(DeviceKey(7), handle(1, 1));
        connections.enter(DeviceKey(7), handle(2, 2));
        connections.leave(DeviceKey(7), ConnectionId(1));
        assert!(connections.find(DeviceKey(7)).is_some());
        connections.leave(DeviceKey(7), ConnectionId(2));
        assert!(connections.find(DeviceKey(7)).is_none());
    }
}
