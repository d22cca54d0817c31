//! The directory: shards, epochs, counts.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::{ConnectionId, DeviceKey, GatewayId};
use downlink_domain::presence::{LeaseEpoch, Protocol, Route, Subscriptions};
use downlink_ports::{
    Connected, GatewayLease, GatewayLeases, LeaseState, PresenceDirectory, PresenceWatch, Restored,
    StoreError,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::polls::Polls;
use crate::rates::Rates;
use crate::shard::Shard;

/// Most watches at a time; a further one is refused with [`StoreError::Overloaded`].
pub const MAX_WATCHES: usize = 65_536;

/// A power of two, well above the threads that may contend.
const SHARDS: usize = 64;

/// Epochs for each millisecond between two starts of the process: a process hands out fewer than
/// this many a millisecond, so the next life of it begins above all of them.
const EPOCHS_PER_MILLI: u64 = 1 << 16;

/// Presence in memory. Clones share one directory.
///
/// Entries are bounded by the connections there are. Nothing here waits: every method finishes
/// when first polled, except the wait of a watch.
#[derive(Clone)]
pub struct MemoryPresence {
    inner: Arc<Inner>,
}

struct Inner {
    shards: Box<[Mutex<Shard>]>,
    next_epoch: AtomicU64,
    connected: AtomicU64,
    watches: AtomicUsize,
    leases: Mutex<HashMap<GatewayId, GatewayLease>>,
    polls: Mutex<Polls>,
    rates: Mutex<Rates>,
}

impl MemoryPresence {
    /// Makes an empty directory whose epochs lie above those of every directory made with an
    /// earlier `started_at`.
    pub fn new(started_at: Timestamp) -> Self {
        let millis = u64::try_from(started_at.as_millis()).unwrap_or(0);
        Self {
            inner: Arc::new(Inner {
                shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
                next_epoch: AtomicU64::new(millis.saturating_mul(EPOCHS_PER_MILLI) + 1),
                connected: AtomicU64::new(0),
                watches: AtomicUsize::new(0),
                leases: Mutex::default(),
                polls: Mutex::default(),
                rates: Mutex::default(),
            }),
        }
    }

    pub(crate) fn polls(&self) -> &Mutex<Polls> {
        &self.inner.polls
    }

    pub(crate) fn rates(&self) -> &Mutex<Rates> {
        &self.inner.rates
    }

    /// How many watches are held, for metrics.
    pub fn watch_count(&self) -> usize {
        self.inner.watches.load(Ordering::Relaxed)
    }

    /// How many devices have at least one watch, for metrics. Locks each shard in turn.
    pub fn watched_device_count(&self) -> usize {
        let count = |shard: &Mutex<Shard>| shard.lock().watched_count();
        self.inner.shards.iter().map(count).sum()
    }
}

impl Inner {
    fn shard(&self, device: DeviceKey) -> &Mutex<Shard> {
        // Keys are handed out in order, so neighbours must not share a shard: Fibonacci hashing.
        let hash = device.0.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let index = usize::try_from(hash >> 32).unwrap_or(0) % SHARDS;
        &self.shards[index]
    }
}

#[async_trait]
impl PresenceDirectory for MemoryPresence {
    async fn connect(
        &self,
        device: DeviceKey,
        gateway: GatewayId,
        connection: ConnectionId,
        protocol: Protocol,
    ) -> Result<Connected, StoreError> {
        let mut shard = self.inner.shard(device).lock();
        // Taken under the lock: the order of epochs is the order of entries.
        let epoch = LeaseEpoch(self.inner.next_epoch.fetch_add(1, Ordering::Relaxed));
        let route = Route {
            gateway,
            connection,
            epoch,
            protocol,
            subscriptions: Subscriptions::default(),
        };
        let superseded = shard.enter(device, route);
        if superseded.is_none() {
            self.inner.connected.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Connected { epoch, superseded })
    }

    async fn subscribe(
        &self,
        device: DeviceKey,
        epoch: LeaseEpoch,
        subscriptions: Subscriptions,
    ) -> Result<(), StoreError> {
        let mut shard = self.inner.shard(device).lock();
        shard.subscribe(device, epoch, subscriptions);
        Ok(())
    }

    async fn disconnect(&self, devices: Vec<(DeviceKey, LeaseEpoch)>) -> Result<(), StoreError> {
        for (device, epoch) in devices {
            let mut shard = self.inner.shard(device).lock();
            // Counted under the lock, so that a connect that follows finds the count lowered.
            if shard.leave(device, epoch) {
                self.inner.connected.fetch_sub(1, Ordering::Relaxed);
            }
        }
        Ok(())
    }

    async fn restore(&self, entries: Vec<(DeviceKey, Route)>) -> Result<Vec<Restored>, StoreError> {
        let restore = |(device, route): (DeviceKey, Route)| {
            let mut shard = self.inner.shard(device).lock();
            match shard.route(device) {
                None => {
                    shard.enter(device, route);
                    self.inner.connected.fetch_add(1, Ordering::Relaxed);
                    Restored::Stands
                }
                Some(held) if held.epoch > route.epoch => Restored::Superseded,
                Some(held) if held.epoch == route.epoch => Restored::Stands,
                Some(_) => {
                    shard.enter(device, route);
                    Restored::Stands
                }
            }
        };
        Ok(entries.into_iter().map(restore).collect())
    }

    async fn lookup(&self, devices: &[DeviceKey]) -> Result<Vec<Option<Route>>, StoreError> {
        let find = |device: &DeviceKey| self.inner.shard(*device).lock().route(*device);
        Ok(devices.iter().map(find).collect())
    }

    async fn watch(&self, device: DeviceKey) -> Result<Box<dyn PresenceWatch>, StoreError> {
        let place = Place::take(&self.inner)?;
        let receiver = self.inner.shard(device).lock().watch(device);
        Ok(Box::new(MemoryWatch {
            device,
            receiver: Some(receiver),
            place,
        }))
    }

    async fn connected_count(&self) -> Result<u64, StoreError> {
        Ok(self.inner.connected.load(Ordering::Relaxed))
    }
}

/// One process has one gateway, whose lease cannot lapse: what would look at it ends with it.
#[async_trait]
impl GatewayLeases for MemoryPresence {
    async fn renew(&self, lease: GatewayLease, _ttl: Duration) -> Result<LeaseState, StoreError> {
        let mut leases = self.inner.leases.lock();
        let earlier = leases.insert(lease.gateway.clone(), lease);
        Ok(if earlier.is_some() {
            LeaseState::Kept
        } else {
            LeaseState::Anew
        })
    }

    async fn release(&self, gateway: &GatewayId) -> Result<(), StoreError> {
        self.inner.leases.lock().remove(gateway);
        Ok(())
    }

    async fn gateways(&self) -> Result<Vec<GatewayLease>, StoreError> {
        Ok(self.inner.leases.lock().values().cloned().collect())
    }
}

/// One of [`MAX_WATCHES`]; dropping it gives it back.
struct Place {
    inner: Arc<Inner>,
}

impl Place {
    fn take(inner: &Arc<Inner>) -> Result<Self, StoreError> {
        inner
            .watches
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |held| {
                (held < MAX_WATCHES).then_some(held + 1)
            })
            .map_err(|_| StoreError::Overloaded)?;
        Ok(Self {
            inner: Arc::clone(inner),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.inner.watches.fetch_sub(1, Ordering::Relaxed);
    }
}

struct MemoryWatch {
    device: DeviceKey,
    /// Always there until the drop.
    receiver: Option<watch::Receiver<Option<Route>>>,
    place: Place,
}

#[async_trait]
impl PresenceWatch for MemoryWatch {
    async fn changed(&mut self) -> Option<Route> {
        let receiver = self
            .receiver
            .as_mut()
            .expect("the receiver is taken by the drop alone");
        receiver
            .changed()
            .await
            .expect("the shard keeps the sender while a receiver is there");
        receiver.borrow_and_update().clone()
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        if let Some(receiver) = self.receiver.take() {
            let mut shard = self.place.inner.shard(self.device).lock();
            shard.unwatch(self.device, receiver);
        }
    }
}
