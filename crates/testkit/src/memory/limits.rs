//! Limits that administrators state.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::id::HubName;
use downlink_domain::limits::{LimitsChange, LimitsError, LimitsSnapshot};
use downlink_ports::{LimitsStore, StoreError, decide_limits};

use super::MemoryStore;

#[async_trait]
impl LimitsStore for MemoryStore {
    async fn limits(
        &self,
        hub: HubName,
        known: Option<u64>,
    ) -> Result<Option<LimitsSnapshot>, StoreError> {
        let stated = self.state.lock().limits.get(&hub).cloned();
        let stated = stated.unwrap_or_default();
        Ok((known != Some(stated.version)).then_some(stated))
    }

    async fn change_limits(
        &self,
        hub: HubName,
        change: LimitsChange,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<LimitsSnapshot, LimitsError>, StoreError> {
        let mut state = self.state.lock();
        if state.access(&hub).is_none() {
            return Ok(Err(LimitsError::NoHub));
        }
        let current = state.limits.get(&hub).cloned().unwrap_or_default();
        let decided = decide_limits(&hub, &current, change, &if_match, &by, now);
        Ok(decided.map(|(changed, event)| {
            state.limits.insert(hub, changed.clone());
            state.append(event);
            changed
        }))
    }
}
