//! Policies and certificate authorities in memory.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::authority::CertificateAuthority;
use downlink_domain::device::IfMatch;
use downlink_domain::event::Event;
use downlink_domain::id::HubName;
use downlink_domain::policy::Policy;
use downlink_ports::access_rules::Desk;
use downlink_ports::{AccessError, AccessSnapshot, AccessStore, StoreError};

use super::{MemoryStore, State};

#[async_trait]
impl AccessStore for MemoryStore {
    async fn access(
        &self,
        hub: HubName,
        known: Option<u64>,
    ) -> Result<Option<AccessSnapshot>, StoreError> {
        let mut state = self.state.lock();
        let access = state.access(&hub).map(|access| access.clone());
        let access = access.unwrap_or_default();
        Ok((known != Some(access.version)).then_some(access))
    }

    async fn put_policy(
        &self,
        hub: HubName,
        policy: Policy,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Policy, AccessError>, StoreError> {
        let name = policy.name.clone();
        Ok(self.write(&hub, (&by, now), |desk, access| {
            let (policy, event) = desk.put_policy(&access.policies, policy, &if_match)?;
            let records = &mut access.policies;
            match records.iter_mut().find(|record| record.name == name) {
                Some(record) => *record = policy.clone(),
                None => records.push(policy.clone()),
            }
            Ok((policy, event))
        }))
    }

    async fn delete_policy(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<(), AccessError>, StoreError> {
        Ok(self.write(&hub, (&by, now), |desk, access| {
            let event = desk.delete_policy(&access.policies, &name, &if_match)?;
            access.policies.retain(|policy| policy.name != name);
            Ok(((), event))
        }))
    }

    async fn put_authority(
        &self,
        hub: HubName,
        authority: CertificateAuthority,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<CertificateAuthority, AccessError>, StoreError> {
        let name = authority.name.clone();
        Ok(self.write(&hub, (&by, now), |desk, access| {
            let (authority, event) =
                desk.put_authority(&access.authorities, authority, &if_match)?;
            let records = &mut access.authorities;
            match records.iter_mut().find(|record| record.name == name) {
                Some(record) => *record = authority.clone(),
                None => records.push(authority.clone()),
            }
            Ok((authority, event))
        }))
    }

    async fn delete_authority(
        &self,
        hub: HubName,
        name: String,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<(), AccessError>, StoreError> {
        Ok(self.write(&hub, (&by, now), |desk, access| {
            let event = desk.delete_authority(&access.authorities, &name, &if_match)?;
            access
                .authorities
                .retain(|authority| authority.name != name);
            Ok(((), event))
        }))
    }
}

impl MemoryStore {
    /// Makes one write, with its version and its event.
    fn write<T>(
        &self,
        hub: &HubName,
        (by, now): (&Actor, Timestamp),
        change: impl FnOnce(&Desk<'_>, &mut AccessSnapshot) -> Result<(T, Event), AccessError>,
    ) -> Result<T, AccessError> {
        let mut state = self.state.lock();
        let Some(access) = state.access(hub) else {
            return Err(AccessError::NotFound(hub.to_string()));
        };
        let version = access.version + 1;
        let desk = Desk {
            hub,
            version,
            by,
            now,
        };
        let (written, event) = change(&desk, access)?;
        access.version = version;
        state.append(event);
        Ok(written)
    }
}

impl State {
    /// What a hub has.
    pub(super) fn access(&mut self, hub: &HubName) -> Option<&mut AccessSnapshot> {
        let found = self.hubs.iter_mut().find(|(known, _)| known == hub);
        found.map(|(_, access)| access)
    }
}
