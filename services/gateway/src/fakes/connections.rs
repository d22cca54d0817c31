//! What is recorded of connections, straight on the store.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::{DeviceKey, HubName};
use downlink_ports::{ConnectionApi, ConnectionStore, PeerError};

use super::Backend;

#[async_trait]
impl ConnectionApi for Backend {
    async fn record_activity(&self, seen: Vec<(DeviceKey, Timestamp)>) -> Result<(), PeerError> {
        self.check()?;
        Ok(self.store.record_activity(seen).await?)
    }

    async fn count_connected(&self, hub: HubName) -> Result<u64, PeerError> {
        self.check()?;
        Ok(self.store.count_connected(hub).await?)
    }
}
