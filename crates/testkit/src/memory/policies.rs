//! Hubs and their policies in memory.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::id::HubName;
use downlink_domain::policy::Policy;
use downlink_ports::{PolicyStore, StoreError};

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
        if !state.hubs.iter().any(|(known, _)| *known == hub) {
            state.hubs.push((hub, policies));
        }
        Ok(())
    }

    async fn policies(&self, hub: HubName) -> Result<Vec<Policy>, StoreError> {
        let state = self.state.lock();
        let found = state.hubs.iter().find(|(known, _)| *known == hub);
        Ok(found
            .map(|(_, policies)| policies.clone())
            .unwrap_or_default())
    }
}
