//! Hubs in memory.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::HubName;
use downlink_domain::policy::Policy;
use downlink_ports::{AccessSnapshot, PolicyStore, StoreError};

use super::MemoryStore;

#[async_trait]
impl PolicyStore for MemoryStore {
    async fn hubs(&self) -> Result<Vec<HubName>, StoreError> {
        let state = self.state.lock();
        Ok(state.hubs.iter().map(|(hub, _)| hub.clone()).collect())
    }

    async fn ensure_hub(
        &self,
        hub: HubName,
        policies: Vec<Policy>,
        _now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        if state.access(&hub).is_none() {
            let access = AccessSnapshot {
                version: 1,
                policies,
                authorities: Vec::new(),
            };
            state.hubs.push((hub, access));
        }
        Ok(())
    }
}
