//! What is watched, and what was last seen of it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use downlink_domain::id::{DeviceKey, GatewayId};
use downlink_domain::presence::{LeaseEpoch, Route};
use downlink_ports::{PresenceWatch, StoreError};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::entry::Change;

/// All watches of this process.
pub(crate) struct Watches {
    state: Mutex<State>,
    max: usize,
    /// Told when there is something to subscribe to, to leave or to look up, and when the first
    /// watch begins.
    pub(crate) nudge: Notify,
}

#[derive(Default)]
struct State {
    devices: HashMap<DeviceKey, Watched>,
    /// Watches, of which several may be of one device.
    held: usize,
    /// Devices whose last watch has gone and whose channel is still listened to; at most as many
    /// as may be watched, any further channel is listened to until its connection ends.
    leaving: Vec<DeviceKey>,
    /// Watched devices to be looked up at once.
    doubtful: HashSet<DeviceKey>,
}

struct Watched {
    sender: watch::Sender<Option<Route>>,
    watchers: usize,
    /// Changes of earlier epochs are news of old.
    newest: LeaseEpoch,
    /// Counts changes that were told, so that a look-up that one of them overtook is told from
    /// one that is later than all.
    changes: u64,
    /// The connection on which changes are told.
    heard_on: Option<u64>,
}

impl Watched {
    fn show(&self, route: Option<Route>) {
        self.sender.send_if_modified(|shown| {
            let is_new = *shown != route;
            if is_new {
                *shown = route;
            }
            is_new
        });
    }
}

/// One watch; dropping it gives its place back.
pub(crate) struct Held {
    watches: Arc<Watches>,
    pub(crate) device: DeviceKey,
}

impl Watches {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            state: Mutex::default(),
            max,
            nudge: Notify::new(),
        }
    }

    /// Takes a place for a watch of `device`.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`] when all places are taken.
    pub(crate) fn take(self: &Arc<Self>, device: DeviceKey) -> Result<Held, StoreError> {
        let mut state = self.state.lock();
        if state.held >= self.max {
            return Err(StoreError::Overloaded);
        }
        state.held += 1;
        let watched = state.devices.entry(device).or_insert_with(|| Watched {
            sender: watch::Sender::new(None),
            watchers: 0,
            newest: LeaseEpoch(0),
            changes: 0,
            heard_on: None,
        });
        watched.watchers += 1;
        if state.held == 1 {
            // The regular look-ups rest while nothing is watched.
            self.nudge.notify_one();
        }
        Ok(Held {
            watches: Arc::clone(self),
            device,
        })
    }

    /// Watches held, and devices watched.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.held, state.devices.len())
    }

    /// Takes note of a change that was told.
    pub(crate) fn told(
        &self,
        device: DeviceKey,
        change: Change,
        is_live: impl FnOnce(&GatewayId) -> bool,
    ) {
        let mut state = self.state.lock();
        let Some(watched) = state.devices.get_mut(&device) else {
            return;
        };
        let (epoch, route) = match change {
            Change::Is(route) => (route.epoch, Some(route)),
            Change::Ended(epoch) => (epoch, None),
        };
        if epoch < watched.newest {
            return;
        }
        watched.newest = epoch;
        watched.changes += 1;
        let is_sure = route.as_ref().is_none_or(|route| is_live(&route.gateway));
        if is_sure {
            watched.show(route);
        } else {
            // Not heard of yet: the look-up asks.
            state.doubtful.insert(device);
            self.nudge.notify_one();
        }
    }

    /// Notes that the changes of a device are no longer told.
    pub(crate) fn unheard(&self, device: DeviceKey) {
        if let Some(watched) = self.state.lock().devices.get_mut(&device) {
            watched.heard_on = None;
            self.nudge.notify_one();
        }
    }

    /// Notes on which connection the changes of devices are told.
    pub(crate) fn heard(&self, devices: &[DeviceKey], on: u64) {
        let mut state = self.state.lock();
        for device in devices {
            if let Some(watched) = state.devices.get_mut(device) {
                watched.heard_on = Some(on);
            }
        }
    }

    /// Tells whether a device is watched.
    pub(crate) fn is_watched(&self, device: DeviceKey) -> bool {
        self.state.lock().devices.contains_key(&device)
    }

    /// Devices whose changes are not told on the connection that `ear_of` says they should be.
    pub(crate) fn not_heard(&self, ear_of: impl Fn(DeviceKey) -> Option<u64>) -> Vec<DeviceKey> {
        let state = self.state.lock();
        let is_amiss = |(device, watched): &(&DeviceKey, &Watched)| {
            watched.heard_on.is_none() || watched.heard_on != ear_of(**device)
        };
        let amiss = state.devices.iter().filter(is_amiss);
        amiss.map(|(device, _)| *device).collect()
    }

    /// Takes the devices whose channels are to be left.
    pub(crate) fn take_leaving(&self) -> Vec<DeviceKey> {
        let mut state = self.state.lock();
        let leaving = std::mem::take(&mut state.leaving);
        let is_gone = |device: &DeviceKey| !state.devices.contains_key(device);
        leaving.into_iter().filter(is_gone).collect()
    }

    /// Takes the devices to be looked up at once, each with its count of changes.
    pub(crate) fn take_doubtful(&self) -> Vec<(DeviceKey, u64)> {
        let mut state = self.state.lock();
        let doubtful = std::mem::take(&mut state.doubtful);
        let with_count = |device| Some((device, state.devices.get(&device)?.changes));
        doubtful.into_iter().filter_map(with_count).collect()
    }

    /// All watched devices, each with its count of changes.
    pub(crate) fn all(&self) -> Vec<(DeviceKey, u64)> {
        let state = self.state.lock();
        let with_count = |(device, watched): (&DeviceKey, &Watched)| (*device, watched.changes);
        state.devices.iter().map(with_count).collect()
    }

    /// The count of changes of a device.
    pub(crate) fn changes(&self, device: DeviceKey) -> u64 {
        let state = self.state.lock();
        state
            .devices
            .get(&device)
            .map_or(0, |watched| watched.changes)
    }

    /// Takes note of what a look-up found that began at `changes`; dropped if a change was told
    /// since, which may be later.
    pub(crate) fn found(&self, device: DeviceKey, changes: u64, route: Option<Route>) {
        let mut state = self.state.lock();
        let Some(watched) = state.devices.get_mut(&device) else {
            return;
        };
        if watched.changes == changes {
            if let Some(route) = &route {
                watched.newest = route.epoch;
            }
            watched.show(route);
        }
    }
}

impl Held {
    /// Begins to watch: what is known by now is not told.
    pub(crate) fn begin(self) -> RedisWatch {
        let state = self.watches.state.lock();
        let receiver = state
            .devices
            .get(&self.device)
            .map(|watched| watched.sender.subscribe());
        drop(state);
        RedisWatch {
            receiver,
            _held: self,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.watches.state.lock();
        state.held -= 1;
        let Some(watched) = state.devices.get_mut(&self.device) else {
            return;
        };
        watched.watchers -= 1;
        if watched.watchers == 0 {
            state.devices.remove(&self.device);
            state.doubtful.remove(&self.device);
            if state.leaving.len() < self.watches.max {
                state.leaving.push(self.device);
            }
            self.watches.nudge.notify_one();
        }
    }
}

/// A watch of one device.
pub(crate) struct RedisWatch {
    /// Always there: the device stays listed while it is held.
    receiver: Option<watch::Receiver<Option<Route>>>,
    _held: Held,
}

#[async_trait]
impl PresenceWatch for RedisWatch {
    async fn changed(&mut self) -> Option<Route> {
        if let Some(receiver) = &mut self.receiver
            && receiver.changed().await.is_ok()
        {
            return receiver.borrow_and_update().clone();
        }
        std::future::pending().await
    }
}
