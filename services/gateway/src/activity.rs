//! When devices were last active, told to twin in batches: a device is written at most once per
//! interval, however much it sends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use downlink_domain::Timestamp;
use downlink_domain::id::DeviceKey;
use downlink_ports::ConnectionApi;
use downlink_runtime::telemetry::HotCounter;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::connections::Connections;

/// Devices without a connection that are remembered between two tellings; the times of further
/// ones are lost.
const MAX_POLLERS: usize = 100_000;
/// Times of one call.
const PART: usize = 5_000;
/// How long twin may take over one call.
const DEADLINE: Duration = Duration::from_secs(10);

/// Devices that were active without a connection, over HTTPS.
#[derive(Debug, Default)]
pub struct Pollers {
    seen: Mutex<HashMap<DeviceKey, Timestamp>>,
}

impl Pollers {
    /// Notes that a device is active.
    pub fn note(&self, device: DeviceKey, at: Timestamp) {
        let mut seen = self.seen.lock();
        if let Some(known) = seen.get_mut(&device) {
            *known = at.max(*known);
        } else if seen.len() < MAX_POLLERS {
            seen.insert(device, at);
        }
    }

    fn take(&self) -> Vec<(DeviceKey, Timestamp)> {
        std::mem::take(&mut *self.seen.lock()).into_iter().collect()
    }
}

/// Goes round the connections once per interval, and tells what is new.
pub struct Teller {
    /// Connections held here.
    pub connections: Arc<Connections>,
    /// Devices without one.
    pub pollers: Arc<Pollers>,
    /// Who is told.
    pub twin: Arc<dyn ConnectionApi>,
    /// Least time between two writes of one device.
    pub interval: Duration,
    /// Counts times told.
    pub told: HotCounter,
}

impl Teller {
    /// Tells until `drain`, and then once more of those without a connection; the others tell with
    /// their disconnect.
    pub async fn run(self, drain: CancellationToken) {
        drain.run_until_cancelled(self.go_round()).await;
        self.tell(self.pollers.take()).await;
    }

    async fn go_round(&self) {
        let shards = u32::try_from(Connections::SHARDS).unwrap_or(1);
        let pause = self.interval / shards;
        for shard in (0..Connections::SHARDS).cycle() {
            let due = Instant::now() + pause;
            let handles = self.connections.of_shard(shard);
            let untold = handles.iter().filter_map(|(device, handle)| {
                let at = handle.activity().take_untold()?;
                Some((*device, at))
            });
            self.tell(untold.collect()).await;
            if shard == 0 {
                self.tell(self.pollers.take()).await;
            }
            sleep_until(due).await;
        }
    }

    async fn tell(&self, seen: Vec<(DeviceKey, Timestamp)>) {
        for part in seen.chunks(PART) {
            match timeout(DEADLINE, self.twin.record_activity(part.to_vec())).await {
                Ok(Ok(())) => self.told.add(part.len() as u64),
                // The next activity is told again.
                Ok(Err(error)) => debug!(%error, "times of activity are not told"),
                Err(_) => debug!("telling times of activity took too long"),
            }
        }
    }
}
