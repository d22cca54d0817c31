//! Presence that can be emptied, be away and be slow, as a real one can.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::{ConnectionId, DeviceKey, GatewayId};
use downlink_domain::presence::{LeaseEpoch, Protocol, Route, Subscriptions};
use downlink_ports::{
    Connected, GatewayLease, GatewayLeases, LeaseState, PresenceDirectory, PresenceWatch, Restored,
    StoreError,
};
use downlink_presence_memory::MemoryPresence;
use parking_lot::RwLock;
use tokio::sync::Semaphore;

/// A directory in memory with the failings of one that is elsewhere.
pub(crate) struct FrailDirectory {
    inner: RwLock<MemoryPresence>,
    lives: AtomicI64,
    is_away: AtomicBool,
    /// One permit for each call that writes entries again and each that takes them out.
    pub(crate) restores: Semaphore,
    pub(crate) disconnects: Semaphore,
}

impl FrailDirectory {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            inner: RwLock::new(life(1)),
            lives: AtomicI64::new(1),
            is_away: AtomicBool::new(false),
            restores: Semaphore::new(Semaphore::MAX_PERMITS),
            disconnects: Semaphore::new(Semaphore::MAX_PERMITS),
        })
    }

    /// Loses everything.
    pub(crate) fn lose_all(&self) {
        let lives = self.lives.fetch_add(1, Ordering::SeqCst) + 1;
        *self.inner.write() = life(lives);
    }

    /// From now on every call fails, or no longer does.
    pub(crate) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    fn reach(&self) -> Result<MemoryPresence, StoreError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("away".to_owned()));
        }
        Ok(self.inner.read().clone())
    }
}

fn life(number: i64) -> MemoryPresence {
    MemoryPresence::new(Timestamp::from_millis(number * 1_000_000))
}

async fn pass(gate: &Semaphore) {
    gate.acquire().await.unwrap().forget();
}

#[async_trait]
impl PresenceDirectory for FrailDirectory {
    async fn connect(
        &self,
        device: DeviceKey,
        gateway: GatewayId,
        connection: ConnectionId,
        protocol: Protocol,
    ) -> Result<Connected, StoreError> {
        let inner = self.reach()?;
        inner.connect(device, gateway, connection, protocol).await
    }

    async fn subscribe(
        &self,
        device: DeviceKey,
        epoch: LeaseEpoch,
        subscriptions: Subscriptions,
    ) -> Result<(), StoreError> {
        self.reach()?.subscribe(device, epoch, subscriptions).await
    }

    async fn disconnect(&self, devices: Vec<(DeviceKey, LeaseEpoch)>) -> Result<(), StoreError> {
        pass(&self.disconnects).await;
        self.reach()?.disconnect(devices).await
    }

    async fn restore(&self, entries: Vec<(DeviceKey, Route)>) -> Result<Vec<Restored>, StoreError> {
        assert!(entries.len() <= 1_000, "{} entries", entries.len());
        pass(&self.restores).await;
        self.reach()?.restore(entries).await
    }

    async fn lookup(&self, devices: &[DeviceKey]) -> Result<Vec<Option<Route>>, StoreError> {
        self.reach()?.lookup(devices).await
    }

    async fn watch(&self, device: DeviceKey) -> Result<Box<dyn PresenceWatch>, StoreError> {
        self.reach()?.watch(device).await
    }

    async fn connected_count(&self) -> Result<u64, StoreError> {
        self.reach()?.connected_count().await
    }
}

#[async_trait]
impl GatewayLeases for FrailDirectory {
    async fn renew(&self, lease: GatewayLease, ttl: Duration) -> Result<LeaseState, StoreError> {
        self.reach()?.renew(lease, ttl).await
    }

    async fn release(&self, gateway: &GatewayId) -> Result<(), StoreError> {
        self.reach()?.release(gateway).await
    }

    async fn gateways(&self) -> Result<Vec<GatewayLease>, StoreError> {
        self.reach()?.gateways().await
    }
}
