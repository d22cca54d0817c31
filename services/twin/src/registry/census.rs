//! How near a hub is to the most identities it may have.
//!
//! Far from the limit a hub is counted once a minute, and a creation costs no count. Near it every
//! creation is counted by the store, in the transaction that creates, so that the limit is exact
//! whoever creates where.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use downlink_domain::Timestamp;
use downlink_domain::id::HubName;
use downlink_ports::{Clock, DeviceRegistry, RegistryRules, StoreError};
use parking_lot::Mutex;

/// How long a count is believed. What others create meanwhile is far less than what is left free.
const BELIEVED: Duration = Duration::from_mins(1);
/// The part of the limit within which a hub is near it.
const NEAR: u64 = 10;
/// Hubs of which counts are kept; beyond, they are forgotten and counted again.
const MAX_HUBS: usize = 1024;

/// What is known of the sizes of hubs.
pub(crate) struct Census {
    max_identities: u64,
    max_modules: u32,
    clock: Arc<dyn Clock>,
    counts: Mutex<HashMap<HubName, Count>>,
}

#[derive(Clone, Copy)]
struct Count {
    identities: u64,
    at: Timestamp,
}

impl Census {
    pub(crate) fn new(max_identities: u64, max_modules: u32, clock: Arc<dyn Clock>) -> Self {
        Self {
            max_identities,
            max_modules,
            clock,
            counts: Mutex::default(),
        }
    }

    /// The rules for a batch of writes that adds at most `most` identities.
    pub(crate) async fn rules(
        &self,
        registry: &dyn DeviceRegistry,
        hub: &HubName,
        most: u64,
    ) -> Result<RegistryRules, StoreError> {
        let is_near = most > 0 && self.is_near(registry, hub, most).await?;
        Ok(RegistryRules {
            max_identities: is_near.then_some(self.max_identities),
            max_modules: self.max_modules,
        })
    }

    async fn is_near(
        &self,
        registry: &dyn DeviceRegistry,
        hub: &HubName,
        most: u64,
    ) -> Result<bool, StoreError> {
        if let Some(is_near) = self.try_add(hub, most) {
            return Ok(is_near);
        }
        let counts = registry.counts(hub.clone()).await?;
        let count = Count {
            identities: counts.total.saturating_add(counts.modules),
            at: self.clock.now(),
        };
        {
            let mut known = self.counts.lock();
            if known.len() >= MAX_HUBS {
                known.clear();
            }
            known.insert(hub.clone(), count);
        }
        Ok(self.try_add(hub, most).unwrap_or(true))
    }

    /// Notes `most` more identities; tells whether the hub is near its limit with them, `None` when
    /// it has to be counted first.
    fn try_add(&self, hub: &HubName, most: u64) -> Option<bool> {
        let mut known = self.counts.lock();
        let count = known.get_mut(hub)?;
        if self.clock.now() >= count.at + BELIEVED {
            return None;
        }
        count.identities = count.identities.saturating_add(most);
        Some(count.identities > self.max_identities - self.max_identities / NEAR)
    }
}
