//! Identities in memory.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::{Device, DeviceSpec, DeviceStatus, IfMatch};
use downlink_domain::id::{DeviceKey, HubName, IdentityName, SequenceNumber};
use downlink_domain::twin::Twin;
use downlink_ports::events::{
    AuditRecord, IdentityWrite, Lifecycle, audit_event, connection_event, lifecycle_event,
};
use downlink_ports::{
    ConnectionChange, DeviceRegistry, RegistryCounts, RegistryError, StoreError, registered,
};

use super::{MemoryStore, State};

#[async_trait]
impl DeviceRegistry for MemoryStore {
    async fn create(
        &self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Device, RegistryError>, StoreError> {
        Ok(self.state.lock().create(hub, name, spec, &by, now))
    }

    async fn replace(
        &self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Device, RegistryError>, StoreError> {
        if let Err(error) = spec.check() {
            return Ok(Err(RegistryError::Invalid(error.to_string())));
        }
        let mut state = self.state.lock();
        let Some(found) = state.find(&hub, &name) else {
            return Ok(Err(RegistryError::NotFound(name)));
        };
        if !if_match.names(&found.etag_text()) {
            return Ok(Err(RegistryError::PreconditionFailed(name)));
        }
        let next = found.rewritten(spec, now);
        state.identities.insert(next.key, next.clone());
        state.audit(IdentityWrite::Replaced, &next, &by, now);
        Ok(Ok(next))
    }

    async fn delete(
        &self,
        hub: HubName,
        name: IdentityName,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Device, RegistryError>, StoreError> {
        let mut state = self.state.lock();
        let Some(found) = state.find(&hub, &name).cloned() else {
            return Ok(Err(RegistryError::NotFound(name)));
        };
        if !if_match.names(&found.etag_text()) {
            return Ok(Err(RegistryError::PreconditionFailed(name)));
        }
        for key in state.keys_under(&hub, &name) {
            state.remove(key, now);
        }
        state.audit(IdentityWrite::Deleted, &found, &by, now);
        Ok(Ok(found))
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

    async fn counts(&self, hub: HubName) -> Result<RegistryCounts, StoreError> {
        let state = self.state.lock();
        let mut counts = RegistryCounts::default();
        for device in state.devices_of(&hub) {
            counts.total += 1;
            counts.enabled += u64::from(device.status == DeviceStatus::Enabled);
        }
        Ok(counts)
    }

    async fn record_connections(&self, changes: Vec<ConnectionChange>) -> Result<(), StoreError> {
        let mut state = self.state.lock();
        for change in changes {
            if let Some(device) = state.identities.get_mut(&change.connection.device) {
                let at = device.connection_state_updated_at.max(change.at);
                device.connection_state_updated_at = at;
                device.last_activity_at = device.last_activity_at.max(change.at);
            }
            state.append(connection_event(&change));
        }
        Ok(())
    }
}

impl State {
    fn devices_of<'a>(&'a self, hub: &'a HubName) -> impl Iterator<Item = &'a Device> {
        self.names
            .iter()
            .filter(move |((of, name), _)| of == hub && name.module.is_none())
            .map(|(_, key)| &self.identities[key])
    }

    fn create(
        &mut self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        by: &Actor,
        now: Timestamp,
    ) -> Result<Device, RegistryError> {
        if let Err(error) = spec.check() {
            return Err(RegistryError::Invalid(error.to_string()));
        }
        if self.find(&hub, &name).is_some() {
            return Err(RegistryError::AlreadyExists(name));
        }
        let parent = IdentityName::from(name.device.clone());
        if name.module.is_some() && self.find(&hub, &parent).is_none() {
            return Err(RegistryError::NotFound(parent));
        }
        self.last_key += 1;
        let key = DeviceKey(self.last_key);
        let device = registered(key, hub, name, spec, now);
        let twin = Twin::new(now);
        self.append(lifecycle_event(Lifecycle::Created, &device, &twin, now));
        self.audit(IdentityWrite::Created, &device, by, now);
        self.names
            .insert((device.hub.clone(), device.name.clone()), key);
        self.identities.insert(key, device.clone());
        self.twins.insert(key, twin);
        Ok(device)
    }

    fn audit(&mut self, write: IdentityWrite, device: &Device, by: &Actor, now: Timestamp) {
        let record = AuditRecord::of_identity(write, device, by, now);
        self.append(audit_event(&record));
    }

    /// The identity of that name and, when it is a device, its modules.
    fn keys_under(&self, hub: &HubName, name: &IdentityName) -> Vec<DeviceKey> {
        let under = self.names.iter().filter(|((of, other), _)| {
            of == hub
                && other.device == name.device
                && (name.module.is_none() || other.module == name.module)
        });
        under.map(|(_, key)| *key).collect()
    }

    fn remove(&mut self, key: DeviceKey, now: Timestamp) {
        let (Some(device), Some(twin)) = (self.identities.remove(&key), self.twins.remove(&key))
        else {
            return;
        };
        self.append(lifecycle_event(Lifecycle::Deleted, &device, &twin, now));
        self.names.remove(&(device.hub, device.name));
        self.sessions.remove(&key);
        self.told.remove(&key);
        self.changes.remove(&key);
        let messages = (key, SequenceNumber(0))..=(key, SequenceNumber(u64::MAX));
        self.messages
            .extract_if(messages, |_, _| true)
            .for_each(drop);
    }
}
