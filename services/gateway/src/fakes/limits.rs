//! Limits, straight on the store.

use async_trait::async_trait;
use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::id::HubName;
use downlink_domain::limits::{LimitsChange, LimitsSnapshot};
use downlink_ports::{Clock, LimitsApi, LimitsStore, PeerError};

use super::Backend;

#[async_trait]
impl LimitsApi for Backend {
    async fn limits(
        &self,
        hub: HubName,
        known: Option<u64>,
    ) -> Result<Option<LimitsSnapshot>, PeerError> {
        Ok(self.store.limits(hub, known).await?)
    }

    async fn change_limits(
        &self,
        hub: HubName,
        change: LimitsChange,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<LimitsSnapshot, PeerError> {
        let now = self.clock.now();
        let changed = self.store.change_limits(hub, change, if_match, by, now);
        changed
            .await?
            .map_err(|error| PeerError::refused(error.code(), &error))
    }
}
