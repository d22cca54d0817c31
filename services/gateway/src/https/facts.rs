//! What other services know of a device.

use downlink_domain::device::Device;
use downlink_domain::id::DeviceKey;

use super::error::ApiError;
use crate::peers::Peers;

/// Presence and queue of a device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// Whether presence knows a connection.
    is_connected: bool,
    pub(crate) waiting_messages: u64,
}

impl Facts {
    /// Tells whether the device is connected: presence knows at once, and the record knows it while
    /// presence has lost its entries.
    pub(crate) fn is_connected(self, device: &Device) -> bool {
        self.is_connected || device.is_connected
    }

    /// The word on the wire (registry.md §2.1).
    pub(crate) fn connection_state(self, device: &Device) -> &'static str {
        if self.is_connected(device) {
            "Connected"
        } else {
            "Disconnected"
        }
    }
}

/// Asks presence and queue about each device, one call each. By position.
pub(crate) async fn ask(peers: &Peers, keys: Vec<DeviceKey>) -> Result<Vec<Facts>, ApiError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let (routes, counts) = futures::join!(
        peers.presence.lookup(&keys),
        peers.queue.count(keys.clone())
    );
    let pairs = routes?.into_iter().zip(counts?);
    Ok(pairs
        .map(|(route, waiting_messages)| Facts {
            is_connected: route.is_some(),
            waiting_messages,
        })
        .collect())
}

pub(crate) async fn ask_one(peers: &Peers, device: &Device) -> Result<Facts, ApiError> {
    let facts = ask(peers, vec![device.key]).await?;
    Ok(facts.first().copied().unwrap_or_default())
}

/// As [`ask_one`] after a write, which is done and must not be answered as failed because
/// something beside it cannot be read.
pub(crate) async fn ask_after_write(peers: &Peers, device: &Device) -> Facts {
    match ask_one(peers, device).await {
        Ok(facts) => facts,
        Err(error) => {
            tracing::warn!(?error, "presence or queue cannot be read after a write");
            Facts::default()
        }
    }
}
