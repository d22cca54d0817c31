//! Keeps watched devices listened to, and looks them up lest a change was lost.

use std::sync::Arc;
use std::time::Duration;

use downlink_domain::id::DeviceKey;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use crate::ears::Ears;
use crate::jitter::jittered;

/// How often every watched device is looked up.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// The least time between two attempts to listen again.
const BREATH: Duration = Duration::from_millis(50);
/// Devices in one look-up.
const LOOKED_UP: usize = 10_000;

/// Runs until it is dropped.
pub(crate) async fn run(ears: Arc<Ears>) {
    let mut next_look = Instant::now() + LOOK_INTERVAL;
    loop {
        let is_watching = ears.watches.counts().1 > 0;
        tokio::select! {
            () = ears.watches.nudge.notified() => {}
            () = sleep_until(next_look), if is_watching => {}
        }
        let is_due = Instant::now() >= next_look;
        if is_due {
            next_look = Instant::now() + jittered(LOOK_INTERVAL);
            ears.prune().await;
        }
        let (changed, is_well) = listen(&ears).await;
        let mut devices = if is_due {
            ears.watches.all()
        } else {
            ears.watches.take_doubtful()
        };
        if !is_due {
            let with_count = |device| (device, ears.watches.changes(device));
            devices.extend(changed.into_iter().map(with_count));
        }
        look_up(&ears, &devices).await;
        if !is_well {
            sleep(jittered(BREATH)).await;
        }
    }
}

/// Leaves channels that nobody watches and subscribes where that is missing. Returns the devices
/// that were subscribed anew, and whether all went well.
async fn listen(ears: &Ears) -> (Vec<DeviceKey>, bool) {
    let mut is_well = true;
    let leaving = ears.watches.take_leaving();
    if !leaving.is_empty() {
        if let Err(error) = ears.unsubscribe(&leaving).await {
            // Then its connection is about to end, and the channels with it.
            debug!(%error, "channels could not be left");
        }
        // One may be watched again since; its subscription may have come before the leave-taking.
        for device in leaving {
            if ears.watches.is_watched(device) {
                ears.watches.unheard(device);
            }
        }
    }
    let amiss = ears.not_heard();
    if !amiss.is_empty()
        && let Err(error) = ears.subscribe(&amiss).await
    {
        debug!(%error, "watched devices cannot be listened to");
        is_well = false;
    }
    (amiss, is_well)
}

async fn look_up(ears: &Ears, devices: &[(DeviceKey, u64)]) {
    // While one server of a cluster is away, the others go on.
    let can_reach = |(device, _): &&(DeviceKey, u64)| ears.core.can_reach(*device);
    let devices: Vec<(DeviceKey, u64)> = devices.iter().filter(can_reach).copied().collect();
    for part in devices.chunks(LOOKED_UP) {
        let keys: Vec<DeviceKey> = part.iter().map(|(device, _)| *device).collect();
        match ears.core.lookup(&keys).await {
            Ok(routes) => {
                for ((device, changes), route) in part.iter().zip(routes) {
                    ears.watches.found(*device, *changes, route);
                }
            }
            Err(error) => {
                debug!(%error, "watched devices cannot be looked up");
                return;
            }
        }
    }
}
