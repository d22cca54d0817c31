//! Connections that listen to changes of watched devices.
//!
//! Each change is told on a sharded channel of the device's own, by the script that makes it.
//! Channels lose what is told while nobody is connected, so every watched device is also looked up
//! after each new subscription and once a second.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use downlink_domain::id::DeviceKey;
use downlink_ports::StoreError;
use futures::future::{join_all, try_join_all};
use parking_lot::Mutex;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, PushInfo, PushKind, Value};
use tokio::time::{Instant, timeout};

use crate::core::Core;
use crate::dial::Dialer;
use crate::entry::parse_change;
use crate::error::{LinkError, unavailable};
use crate::link::Link;
use crate::live::Liveness;
use crate::map::Map;
use crate::shards::PIPELINE;
use crate::slot::slot_of;
use crate::watches::{RedisWatch, Watches};

static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The listening connections, one for each master once something of it is watched.
pub(crate) struct Ears {
    pub(crate) core: Arc<Core>,
    pub(crate) watches: Arc<Watches>,
    dialer: Dialer,
    /// How long it may take to begin a watch.
    watch_timeout: Duration,
    /// By the connection beside which it listens.
    by_link: Mutex<HashMap<u64, Arc<Ear>>>,
    /// Held by the one that connects, so that others wait for it.
    connecting: tokio::sync::Mutex<()>,
}

/// One listening connection.
struct Ear {
    id: u64,
    connection: MultiplexedConnection,
    is_broken: Arc<AtomicBool>,
}

impl Ear {
    fn is_usable(&self) -> bool {
        !self.is_broken.load(Ordering::Acquire)
    }
}

impl Ears {
    pub(crate) fn new(core: Arc<Core>, watches: Arc<Watches>, dialer: Dialer) -> Self {
        Self {
            watch_timeout: dialer.timeout() + core.shards.call_timeout(),
            core,
            watches,
            dialer,
            by_link: Mutex::default(),
            connecting: tokio::sync::Mutex::default(),
        }
    }

    /// Watches a device: subscribed first, then looked up, so that nothing falls between.
    pub(crate) async fn watch(&self, device: DeviceKey) -> Result<RedisWatch, StoreError> {
        let held = self.watches.take(device)?;
        let entered = async {
            self.subscribe(&[device]).await?;
            let changes = self.watches.changes(device);
            let route = self.core.lookup(&[device]).await?.pop().flatten();
            self.watches.found(device, changes, route);
            Ok(())
        };
        match timeout(self.watch_timeout, entered).await {
            Ok(Ok(())) => Ok(held.begin()),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(LinkError::Silent.into()),
        }
    }

    /// Subscribes to the channels of devices; returns when all are confirmed.
    pub(crate) async fn subscribe(&self, devices: &[DeviceKey]) -> Result<(), StoreError> {
        self.on_channels("SSUBSCRIBE", devices, |devices, ear| {
            self.watches.heard(devices, ear);
        })
        .await
    }

    /// Leaves the channels of devices.
    pub(crate) async fn unsubscribe(&self, devices: &[DeviceKey]) -> Result<(), StoreError> {
        self.on_channels("SUNSUBSCRIBE", devices, |_, _| ()).await
    }

    async fn on_channels(
        &self,
        verb: &'static str,
        devices: &[DeviceKey],
        done: impl Fn(&[DeviceKey], u64),
    ) -> Result<(), StoreError> {
        let map = self.core.shards.map();
        let mut by_link: HashMap<u64, (&Arc<Link>, Vec<DeviceKey>)> = HashMap::new();
        let mut missed = Ok(());
        for device in devices {
            let slot = slot_of(&self.core.keys.route(*device));
            let Some(link) = map.link(slot) else {
                missed = Err(unavailable(&"a server is not connected"));
                continue;
            };
            let entry = by_link.entry(link.id).or_insert_with(|| (link, Vec::new()));
            entry.1.push(*device);
        }
        let told = by_link.values().map(|(link, devices)| async {
            let ear = self.ear(link).await?;
            let parts = devices.chunks(PIPELINE);
            try_join_all(parts.map(|part| self.tell(&ear, link, verb, part))).await?;
            done(devices, ear.id);
            Ok(())
        });
        // All to their end: one server that is away holds up no other.
        for outcome in join_all(told).await {
            missed = outcome.and(missed);
        }
        if missed.is_err() {
            self.core.shards.nudge.notify_one();
        }
        missed
    }

    async fn tell(
        &self,
        ear: &Ear,
        link: &Link,
        verb: &str,
        devices: &[DeviceKey],
    ) -> Result<(), StoreError> {
        let mut pipeline = Pipeline::new();
        for device in devices {
            pipeline.cmd(verb).arg(self.core.keys.route(*device));
        }
        let mut connection = ear.connection.clone();
        let sent = connection.send_packed_commands(&pipeline, 0, pipeline.len());
        let values = match timeout(self.core.shards.call_timeout(), sent).await {
            Ok(Ok(values)) => values,
            Ok(Err(error)) => {
                ear.is_broken.store(true, Ordering::Release);
                return Err(link.refused(error).into());
            }
            Err(_) => {
                ear.is_broken.store(true, Ordering::Release);
                return Err(LinkError::TimedOut {
                    at: link.at.clone(),
                }
                .into());
            }
        };
        for value in values {
            if let Value::ServerError(error) = value {
                // The slot has moved: a survey finds where to.
                self.core.shards.nudge.notify_one();
                return Err(link.refused(error.into()).into());
            }
        }
        Ok(())
    }

    /// The listening connection beside `link`, made if there is none.
    async fn ear(&self, link: &Arc<Link>) -> Result<Arc<Ear>, LinkError> {
        if let Some(ear) = self.find(link.id) {
            return Ok(ear);
        }
        let _connecting = self.connecting.lock().await;
        if let Some(ear) = self.find(link.id) {
            return Ok(ear);
        }
        let is_broken = Arc::new(AtomicBool::new(false));
        let on_push = {
            let (core, watches) = (Arc::clone(&self.core), Arc::clone(&self.watches));
            let is_broken = Arc::clone(&is_broken);
            move |push| on_push(&core, &watches, &is_broken, push)
        };
        let ear = Arc::new(Ear {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            connection: self.dialer.connect(&link.at, on_push).await?,
            is_broken,
        });
        self.by_link.lock().insert(link.id, Arc::clone(&ear));
        Ok(ear)
    }

    fn find(&self, link: u64) -> Option<Arc<Ear>> {
        let by_link = self.by_link.lock();
        let ear = by_link.get(&link)?;
        ear.is_usable().then(|| Arc::clone(ear))
    }

    /// Devices that should be listened to and are not, or on the wrong connection.
    pub(crate) fn not_heard(&self) -> Vec<DeviceKey> {
        let map = self.core.shards.map();
        let ears: HashMap<u64, u64> = {
            let by_link = self.by_link.lock();
            let usable = by_link.iter().filter(|(_, ear)| ear.is_usable());
            usable.map(|(link, ear)| (*link, ear.id)).collect()
        };
        self.watches.not_heard(|device| {
            let link = map.link(slot_of(&self.core.keys.route(device)))?;
            ears.get(&link.id).copied()
        })
    }

    /// Ends connections that are broken, or beside one that is no longer used; finds those that
    /// have fallen silent.
    pub(crate) async fn prune(&self) {
        let map = self.core.shards.map();
        let ears: Vec<Arc<Ear>> = self.by_link.lock().values().cloned().collect();
        let within = self.core.shards.call_timeout();
        let deadline = Instant::now() + within;
        join_all(ears.iter().map(|ear| async move {
            let mut ping = Pipeline::new();
            ping.cmd("PING");
            let mut connection = ear.connection.clone();
            let sent = connection.send_packed_commands(&ping, 0, 1);
            if !matches!(tokio::time::timeout_at(deadline, sent).await, Ok(Ok(_))) {
                ear.is_broken.store(true, Ordering::Release);
            }
        }))
        .await;
        let is_used = |link: u64, map: &Map| map.links().any(|known| known.id == link);
        self.by_link
            .lock()
            .retain(|link, ear| ear.is_usable() && is_used(*link, &map));
    }
}

/// What a listening connection was told.
fn on_push(core: &Core, watches: &Watches, is_broken: &AtomicBool, push: PushInfo) {
    match push.kind {
        PushKind::SMessage => {
            let mut parts = push.data.into_iter();
            if let (Some(Value::BulkString(channel)), Some(Value::BulkString(text))) =
                (parts.next(), parts.next())
                && let Some(device) = core.keys.device(&channel)
                && let Some(change) = parse_change(&text)
            {
                let now = Instant::now();
                watches.told(device, change, |gateway| {
                    core.live.of(gateway, now) == Liveness::Live
                });
            }
        }
        // Not asked for while the device is watched: its slot has left the server.
        PushKind::SUnsubscribe => {
            if let Some(Value::BulkString(channel)) = push.data.first()
                && let Some(device) = core.keys.device(channel)
            {
                watches.unheard(device);
            }
        }
        PushKind::Disconnection => {
            is_broken.store(true, Ordering::Release);
            watches.nudge.notify_one();
        }
        _ => {}
    }
}
