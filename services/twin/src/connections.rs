//! Who is connected, as it is recorded: what gateways report, what they left behind, and how many
//! there are.

mod metrics;
mod sweep;
#[cfg(test)]
mod tests;
mod vanished;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::{DeviceKey, HubName};
use downlink_ports::{ConnectionApi, ConnectionStore, PeerError};
use tokio::sync::Mutex;
use tokio::time::Instant;

pub(crate) use sweep::{Sources, start};

/// How old a count may be: counting reads an index of all that are connected.
const COUNT_AGE: Duration = Duration::from_secs(1);
/// Counts that are kept; hubs are few, and beyond it all are counted anew.
const MAX_COUNTS: usize = 10_000;

/// Answers gateways.
pub(crate) struct ConnectionDesk {
    store: Arc<dyn ConnectionStore>,
    /// Held while counting, so that many who ask at once have one count made.
    counts: Mutex<HashMap<HubName, (Instant, u64)>>,
}

impl ConnectionDesk {
    pub(crate) fn new(store: Arc<dyn ConnectionStore>) -> Self {
        Self {
            store,
            counts: Mutex::default(),
        }
    }
}

#[async_trait]
impl ConnectionApi for ConnectionDesk {
    async fn record_activity(&self, seen: Vec<(DeviceKey, Timestamp)>) -> Result<(), PeerError> {
        Ok(self.store.record_activity(seen).await?)
    }

    async fn count_connected(&self, hub: HubName) -> Result<u64, PeerError> {
        let mut counts = self.counts.lock().await;
        if let Some((counted_at, count)) = counts.get(&hub)
            && counted_at.elapsed() < COUNT_AGE
        {
            return Ok(*count);
        }
        let count = self.store.count_connected(hub.clone()).await?;
        if counts.len() >= MAX_COUNTS {
            counts.clear();
        }
        counts.insert(hub, (Instant::now(), count));
        Ok(count)
    }
}
