//! What administrators state of limits: read by every gateway about once a second, one row each time.

use std::sync::Arc;

use async_trait::async_trait;
use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::id::HubName;
use downlink_domain::limits::{LimitsChange, LimitsSnapshot};
use downlink_ports::{Clock, LimitsApi, LimitsStore, PeerError};

use crate::options::TwinDeps;

/// The limits of all hubs.
pub(crate) struct Limits {
    store: Arc<dyn LimitsStore>,
    clock: Arc<dyn Clock>,
}

impl Limits {
    pub(crate) fn new(deps: &TwinDeps) -> Self {
        Self {
            store: Arc::clone(&deps.limits),
            clock: Arc::clone(&deps.clock),
        }
    }
}

#[async_trait]
impl LimitsApi for Limits {
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
        let changing = self.store.change_limits(hub, change, if_match, by, now);
        let changed = changing.await?;
        changed.map_err(|error| PeerError::refused(error.code(), &error))
    }
}
