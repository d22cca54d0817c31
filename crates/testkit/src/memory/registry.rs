//! Identities in memory.

use std::collections::HashMap;

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::{Device, DeviceStatus};
use downlink_domain::id::{DeviceId, DeviceKey, HubName, IdentityName, SequenceNumber};
use downlink_domain::twin::Twin;
use downlink_ports::{
    DeviceRegistry, RegistryCounts, RegistryError, RegistryPlan, RegistryRules, RegistryWrite,
    RegistryWritten, StoreError, devices_of,
};

use super::{MemoryStore, State};

#[async_trait]
impl DeviceRegistry for MemoryStore {
    async fn write(
        &self,
        hub: HubName,
        writes: Vec<RegistryWrite>,
        rules: RegistryRules,
        by: Actor,
        now: Timestamp,
    ) -> Result<Vec<Result<RegistryWritten, RegistryError>>, StoreError> {
        let mut state = self.state.lock();
        let state = &mut *state;
        let current = devices_of(&writes);
        let current = state.under(&hub, &current);
        let count = state.names.keys().filter(|(of, _)| *of == hub).count();
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let keys = std::iter::from_fn(|| {
            state.last_key += 1;
            Some(DeviceKey(state.last_key))
        });
        let plan = RegistryPlan::of(&hub, current, count, writes, rules, keys, now);
        for device in &plan.ended {
            state.end_connections(device.key, now);
        }
        let ended = plan.ended.iter().map(|device| device.key);
        let last_twins: HashMap<_, _> = ended
            .filter_map(|key| Some((key, state.remove(key)?)))
            .collect();
        for device in &plan.updated {
            state.identities.insert(device.key, device.clone());
        }
        for (device, twin) in &plan.inserted {
            let name = (device.hub.clone(), device.name.clone());
            state.names.insert(name, device.key);
            state.identities.insert(device.key, device.clone());
            state.twins.insert(device.key, twin.clone());
        }
        for event in plan.events(&last_twins, &by, now) {
            state.append(event);
        }
        Ok(plan.answers)
    }

    async fn find(
        &self,
        hub: HubName,
        names: Vec<IdentityName>,
    ) -> Result<Vec<Option<Device>>, StoreError> {
        let state = self.state.lock();
        Ok(names
            .iter()
            .map(|name| state.find(&hub, name).cloned())
            .collect())
    }

    async fn list(&self, hub: HubName, limit: u32) -> Result<Vec<Device>, StoreError> {
        let state = self.state.lock();
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(state.devices_of(&hub).take(limit).cloned().collect())
    }

    async fn list_modules(
        &self,
        hub: HubName,
        devices: Vec<DeviceId>,
    ) -> Result<Vec<Device>, StoreError> {
        let mut modules = self.state.lock().under(&hub, &devices);
        modules.retain(|device| device.name.module.is_some());
        Ok(modules)
    }

    async fn counts(&self, hub: HubName) -> Result<RegistryCounts, StoreError> {
        let state = self.state.lock();
        let mut counts = RegistryCounts::default();
        for device in state.devices_of(&hub) {
            counts.total += 1;
            counts.enabled += u64::from(device.status == DeviceStatus::Enabled);
        }
        let modules = state.names.keys();
        let modules = modules.filter(|(of, name)| *of == hub && name.module.is_some());
        counts.modules = u64::try_from(modules.count()).unwrap_or(u64::MAX);
        Ok(counts)
    }
}

impl State {
    fn devices_of<'a>(&'a self, hub: &'a HubName) -> impl Iterator<Item = &'a Device> {
        self.names
            .iter()
            .filter(move |((of, name), _)| of == hub && name.module.is_none())
            .map(|(_, key)| &self.identities[key])
    }

    /// All identities of the devices named.
    fn under(&self, hub: &HubName, devices: &[DeviceId]) -> Vec<Device> {
        let named = self
            .names
            .iter()
            .filter(|((of, name), _)| of == hub && devices.contains(&name.device));
        named.map(|(_, key)| self.identities[key].clone()).collect()
    }

    /// Removes the identity with all that is its own; its last twin.
    fn remove(&mut self, key: DeviceKey) -> Option<Twin> {
        let device = self.identities.remove(&key)?;
        let twin = self.twins.remove(&key)?;
        self.names.remove(&(device.hub, device.name));
        self.sessions.remove(&key);
        self.told.remove(&key);
        self.changes.remove(&key);
        let messages = (key, SequenceNumber(0))..=(key, SequenceNumber(u64::MAX));
        self.messages
            .extract_if(messages, |_, _| true)
            .for_each(drop);
        Some(twin)
    }
}
