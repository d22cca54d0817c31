//! Telling gateways that messages wait.
//!
//! Nobody waits for a wake-up: devices are put in a bounded set, and one task looks up where they
//! are, many at once, and calls each gateway once. When as many calls as may are on their way, the
//! others wait in the set. A wake-up may be lost; gateways look for themselves from time to time.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use downlink_domain::id::{DeviceKey, GatewayId};
use downlink_ports::GatewayApi;
use downlink_runtime::OnError;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tracing::debug;

use crate::service::Shared;

/// Devices that wait to be woken, each once.
pub(crate) struct Wakes {
    pending: Mutex<HashSet<DeviceKey>>,
    arrived: Notify,
    max_pending: usize,
    calls: Arc<Semaphore>,
}

impl Wakes {
    pub(crate) fn new(max_pending: usize, max_calls: usize) -> Self {
        Self {
            pending: Mutex::default(),
            arrived: Notify::new(),
            max_pending,
            calls: Arc::new(Semaphore::new(max_calls)),
        }
    }

    /// Puts devices in; those that wait already count once. Returns how many found no room.
    pub(crate) fn push(&self, devices: impl IntoIterator<Item = DeviceKey>) -> u64 {
        let mut dropped = 0;
        let mut is_anything_new = false;
        let mut pending = self.pending.lock();
        for device in devices {
            if pending.len() < self.max_pending {
                is_anything_new |= pending.insert(device);
            } else if !pending.contains(&device) {
                dropped += 1;
            }
        }
        drop(pending);
        if is_anything_new {
            self.arrived.notify_one();
        }
        dropped
    }

    fn take(&self, most: usize) -> Vec<DeviceKey> {
        let mut pending = self.pending.lock();
        if pending.len() <= most {
            return std::mem::take(&mut *pending).into_iter().collect();
        }
        let taken: Vec<_> = pending.iter().take(most).copied().collect();
        for device in &taken {
            pending.remove(device);
        }
        taken
    }
}

/// Wakes devices as they are put in, until the service drains and nothing waits.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        let devices = shared.wakes.take(shared.options.wake.batch);
        if !devices.is_empty() {
            wake(&shared, devices).await;
            continue;
        }
        if shared.drain.is_cancelled() {
            return;
        }
        tokio::select! {
            () = shared.wakes.arrived.notified() => {}
            () = shared.drain.cancelled() => {}
        }
    }
}

/// One look-up for all, one call for each gateway.
async fn wake(shared: &Arc<Shared>, devices: Vec<DeviceKey>) {
    let metrics = &shared.metrics.wakes;
    let lookup = shared.deps.presence.lookup(&devices);
    let routes = match timeout(shared.options.wake.timeout, lookup).await {
        Ok(Ok(routes)) => routes,
        Ok(Err(error)) => {
            debug!(%error, "presence is unavailable, wake-ups are lost");
            return metrics.failed.add(devices.len() as u64);
        }
        Err(_) => {
            debug!("presence did not answer in time, wake-ups are lost");
            return metrics.failed.add(devices.len() as u64);
        }
    };
    let mut by_gateway: HashMap<GatewayId, Vec<DeviceKey>> = HashMap::new();
    for (device, route) in devices.into_iter().zip(routes) {
        match route {
            Some(route) if route.subscriptions.c2d => {
                by_gateway.entry(route.gateway).or_default().push(device);
            }
            Some(_) | None => metrics.absent.increment(),
        }
    }
    let mut waiting = Vec::new();
    for (gateway, devices) in by_gateway {
        let permit = Arc::clone(&shared.wakes.calls).try_acquire_owned();
        match (shared.deps.gateways.find(&gateway), permit) {
            (None, _) => metrics.absent.add(devices.len() as u64),
            (Some(_), Err(_)) => waiting.extend(devices),
            (Some(gateway), Ok(permit)) => {
                let call = call(Arc::clone(shared), gateway, devices, permit);
                shared.lifecycle.spawn("queue wake", OnError::Log, call);
            }
        }
    }
    if !waiting.is_empty() {
        wait_for_a_call(shared, waiting).await;
    }
}

/// Puts devices back for which no call was left, and waits until one ends, which its timeout
/// bounds. Dropped, they would wait for the gateway's slow look; meanwhile what is new folds into
/// the set. A service that drains drops them: it has no time to wait.
async fn wait_for_a_call(shared: &Shared, devices: Vec<DeviceKey>) {
    if shared.drain.is_cancelled() {
        return shared.metrics.wakes.dropped.add(devices.len() as u64);
    }
    shared.metrics.wakes.dropped.add(shared.wakes.push(devices));
    tokio::select! {
        _permit = shared.wakes.calls.acquire() => {}
        () = shared.drain.cancelled() => {}
    }
}

/// Calls one gateway; a task of its own, so that a slow one delays no other.
async fn call(
    shared: Arc<Shared>,
    gateway: Arc<dyn GatewayApi>,
    devices: Vec<DeviceKey>,
    permit: OwnedSemaphorePermit,
) {
    let metrics = &shared.metrics.wakes;
    let count = devices.len() as u64;
    match timeout(shared.options.wake.timeout, gateway.wake(devices)).await {
        Ok(Ok(())) => metrics.sent.add(count),
        Ok(Err(error)) => {
            debug!(%error, "a gateway could not be woken");
            metrics.failed.add(count);
        }
        Err(_) => {
            debug!("a gateway did not answer its wake-up in time");
            metrics.failed.add(count);
        }
    }
    drop(permit);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(range: std::ops::Range<i64>) -> impl Iterator<Item = DeviceKey> {
        range.map(DeviceKey)
    }

    #[test]
    fn a_device_that_waits_already_takes_no_second_place() {
        let wakes = Wakes::new(10, 1);
        assert_eq!(wakes.push(keys(0..5).chain(keys(0..5))), 0);
        assert_eq!(wakes.take(10).len(), 5);
    }

    #[test]
    fn devices_beyond_the_bound_are_dropped_and_counted() {
        let wakes = Wakes::new(3, 1);
        assert_eq!(wakes.push(keys(0..5)), 2);
        assert_eq!(wakes.push(keys(0..3)), 0);
        assert_eq!(wakes.take(10).len(), 3);
        assert_eq!(wakes.push(keys(7..8)), 0);
    }

    #[test]
    fn a_large_set_is_taken_in_parts_without_losing_any() {
        let wakes = Wakes::new(100, 1);
        wakes.push(keys(0..25));
        let mut taken: Vec<_> = (0..3).flat_map(|_| wakes.take(10)).collect();
        taken.sort_unstable();
        assert_eq!(taken, keys(0..25).collect::<Vec<_>>());
    }
}
