//! What gateways of one process want of a hub's rates.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use downlink_domain::id::{GatewayId, HubName};
use downlink_ports::{MAX_SHARERS, RateShares, StoreError, Wants};

use crate::MemoryPresence;

/// Until when each word counts.
#[derive(Default)]
pub(crate) struct Rates {
    hubs: HashMap<HubName, HashMap<GatewayId, (Instant, Wants)>>,
}

#[async_trait]
impl RateShares for MemoryPresence {
    async fn exchange(
        &self,
        hub: &HubName,
        gateway: &GatewayId,
        wants: Wants,
        ttl: Duration,
    ) -> Result<Vec<(GatewayId, Wants)>, StoreError> {
        let now = Instant::now();
        let mut rates = self.rates().lock();
        let words = rates.hubs.entry(hub.clone()).or_default();
        words.retain(|_, (until, _)| *until > now);
        if words.len() >= MAX_SHARERS && !words.contains_key(gateway) {
            return Err(StoreError::Overloaded);
        }
        words.insert(gateway.clone(), (now + ttl, wants));
        let heard = words.iter();
        let heard = heard.map(|(gateway, (_, wants))| (gateway.clone(), *wants));
        Ok(heard.collect())
    }

    async fn leave(&self, hub: &HubName, gateway: &GatewayId) -> Result<(), StoreError> {
        let mut rates = self.rates().lock();
        if let Some(words) = rates.hubs.get_mut(hub) {
            words.remove(gateway);
            if words.is_empty() {
                rates.hubs.remove(hub);
            }
        }
        Ok(())
    }
}
