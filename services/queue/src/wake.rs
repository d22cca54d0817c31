//! Telling gateways that messages wait.
//!
//! Nobody waits for a wake-up: devices are put in a bounded set, and one task looks up where they
//! are, many at once, and calls each gateway once. When as many calls as may are on their way, the
//! others wait in the set. What fails is tried again: all of it, paced, while presence does not
//! answer; a few times where one gateway does not. A wake-up may be lost all the same; gateways
//! look for themselves from time to time.

mod pending;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use downlink_domain::id::{DeviceKey, GatewayId};
use downlink_domain::presence::Route;
use downlink_ports::GatewayApi;
use downlink_runtime::OnError;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::debug;

pub(crate) use self::pending::Wakes;
use self::pending::{Tries, Waiting};
use crate::service::Shared;

/// Longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Wakes devices as they are put in, until the service drains and nothing waits.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut failed_lookups = 0;
    loop {
        let due = shared.wakes.collect_due(Instant::now());
        let devices = shared.wakes.take(shared.options.wake.batch);
        if !devices.is_empty() {
            match wake(&shared, devices).await {
                Looked::Up => failed_lookups = 0,
                Looked::InVain => {
                    let pause = pause(&shared, failed_lookups);
                    failed_lookups = failed_lookups.saturating_add(1);
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = shared.drain.cancelled() => {}
                    }
                }
            }
            continue;
        }
        if shared.drain.is_cancelled() {
            return;
        }
        tokio::select! {
            () = shared.wakes.arrived() => {}
            () = until(due) => {}
            () = shared.drain.cancelled() => {}
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// Whether presence told where devices are.
enum Looked {
    Up,
    InVain,
}

/// One look-up for all, one call for each gateway.
async fn wake(shared: &Arc<Shared>, devices: Vec<Waiting>) -> Looked {
    let metrics = &shared.metrics.wakes;
    let Some(routes) = look_up(shared, &devices).await else {
        if shared.drain.is_cancelled() {
            metrics.failed.add(devices.len() as u64);
        } else {
            // Not counted as tries: where they are is as yet unknown.
            metrics.retried.add(devices.len() as u64);
            metrics.dropped.add(shared.wakes.put_back(devices));
        }
        return Looked::InVain;
    };
    let mut by_gateway: HashMap<GatewayId, Vec<Waiting>> = HashMap::new();
    for (waiting, route) in devices.into_iter().zip(routes) {
        match route {
            Some(route) if route.subscriptions.c2d => {
                by_gateway.entry(route.gateway).or_default().push(waiting);
            }
            Some(_) | None => metrics.absent.increment(),
        }
    }
    let mut waiting = Vec::new();
    for (id, devices) in by_gateway {
        let permit = Arc::clone(&shared.wakes.calls).try_acquire_owned();
        match (shared.deps.gateways.find(&id), permit) {
            (None, _) => {
                // It may be new, and this node has not heard of it.
                debug!(gateway.id = %id, "a gateway to be woken is not known");
                try_later(shared, devices);
            }
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
    Looked::Up
}

async fn look_up(shared: &Shared, devices: &[Waiting]) -> Option<Vec<Option<Route>>> {
    let keys: Vec<DeviceKey> = devices.iter().map(|waiting| waiting.device).collect();
    let lookup = shared.deps.presence.lookup(&keys);
    match timeout(shared.options.wake.timeout, lookup).await {
        Ok(Ok(routes)) => Some(routes),
        Ok(Err(error)) => {
            debug!(%error, "presence is unavailable, wake-ups wait");
            None
        }
        Err(_) => {
            debug!("presence did not answer in time, wake-ups wait");
            None
        }
    }
}

/// Puts devices back for which no call was left, and waits until one ends, which its timeout
/// bounds. Dropped, they would wait for the gateway's slow look; meanwhile what is new folds into
/// the set. A service that drains drops them: it has no time to wait.
async fn wait_for_a_call(shared: &Shared, devices: Vec<Waiting>) {
    if shared.drain.is_cancelled() {
        return shared.metrics.wakes.dropped.add(devices.len() as u64);
    }
    let dropped = shared.wakes.put_back(devices);
    shared.metrics.wakes.dropped.add(dropped);
    tokio::select! {
        _permit = shared.wakes.calls.acquire() => {}
        () = shared.drain.cancelled() => {}
    }
}

/// Calls one gateway; a task of its own, so that a slow one delays no other.
async fn call(
    shared: Arc<Shared>,
    gateway: Arc<dyn GatewayApi>,
    devices: Vec<Waiting>,
    permit: OwnedSemaphorePermit,
) {
    let keys = devices.iter().map(|waiting| waiting.device).collect();
    match timeout(shared.options.wake.timeout, gateway.wake(keys)).await {
        Ok(Ok(())) => shared.metrics.wakes.sent.add(devices.len() as u64),
        Ok(Err(error)) => {
            debug!(%error, "a gateway could not be woken");
            try_later(&shared, devices);
        }
        Err(_) => {
            debug!("a gateway did not answer its wake-up in time");
            try_later(&shared, devices);
        }
    }
    drop(permit);
}

/// Puts devices aside for another try, except those that had all of theirs.
fn try_later(shared: &Shared, devices: Vec<Waiting>) {
    let (options, metrics) = (&shared.options.wake, &shared.metrics.wakes);
    let mut by_tries: HashMap<Tries, Vec<DeviceKey>> = HashMap::new();
    for Waiting { device, tries } in devices {
        if tries >= options.max_retries || shared.drain.is_cancelled() {
            metrics.failed.increment();
        } else {
            by_tries.entry(tries).or_default().push(device);
        }
    }
    for (tries, devices) in by_tries {
        metrics.retried.add(devices.len() as u64);
        let due = Instant::now() + pause(shared, tries);
        metrics
            .dropped
            .add(shared.wakes.put_aside(devices, tries + 1, due));
    }
}

/// The pause before a further try, 50–100 % of a doubling time.
fn pause(shared: &Shared, tries: Tries) -> Duration {
    let mut random = [0];
    shared.deps.ids.fill_random(&mut random);
    let doubled = 2_u32.saturating_pow(tries.min(16));
    let full = shared.options.wake.retry_pause.saturating_mul(doubled);
    let full = full.min(LONGEST_PAUSE);
    full / 2 + full * u32::from(random[0]) / 512
}
