//! Identities one by one: create, replace, delete, list, count (registry.md §2, §3).

use downlink_domain::ErrorCode;
use downlink_domain::access::Actor;
use downlink_domain::device::{Device, DeviceSpec, IfMatch};
use downlink_domain::id::{HubName, IdentityName};
use downlink_domain::twin::Twin;
use downlink_ports::{ConnectionChange, PeerError, RegistryChange, RegistryCounts, RegistryWrite};

use crate::error::refused;
use crate::service::TwinService;

mod batch;
mod bulk;
pub(crate) mod census;

/// Most devices of one list (registry.md §1).
const MAX_LISTED: u32 = 1000;

impl TwinService {
    pub(crate) async fn put(
        &self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<Device, PeerError> {
        let change = match if_match {
            IfMatch::Absent => RegistryChange::Create {
                spec,
                twin: Twin::new(self.deps.clock.now()),
            },
            IfMatch::Any | IfMatch::Etag(_) => RegistryChange::Replace { spec, if_match },
        };
        self.write_identity(hub, name, change, by).await
    }

    pub(crate) async fn delete(
        &self,
        hub: HubName,
        name: IdentityName,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<(), PeerError> {
        let is_unconditional = if_match == IfMatch::Absent;
        let change = RegistryChange::Delete { if_match };
        let deleted = self.write_identity(hub, name, change, by).await;
        match deleted {
            Ok(_) => Ok(()),
            Err(error) if is_unconditional && error.code() == ErrorCode::PreconditionFailed => {
                Err(refused(ErrorCode::PreconditionFailed, "Etag missing"))
            }
            Err(error) => Err(error),
        }
    }

    async fn write_identity(
        &self,
        hub: HubName,
        name: IdentityName,
        change: RegistryChange,
        by: Actor,
    ) -> Result<Device, PeerError> {
        let write = RegistryWrite { name, change };
        let outcomes = self.write_batch(hub, vec![write], by).await?;
        outcomes.into_iter().next().unwrap_or_else(|| {
            let text = "the registry gave no answer";
            Err(refused(ErrorCode::ServerError, text))
        })
    }

    pub(crate) async fn list(&self, hub: HubName, limit: u32) -> Result<Vec<Device>, PeerError> {
        let limit = limit.clamp(1, MAX_LISTED);
        Ok(self.deps.registry.list(hub, limit).await?)
    }

    pub(crate) async fn count(&self, hub: HubName) -> Result<RegistryCounts, PeerError> {
        Ok(self.deps.registry.counts(hub).await?)
    }

    pub(crate) async fn note_connections(
        &self,
        changes: Vec<ConnectionChange>,
    ) -> Result<(), PeerError> {
        Ok(self.deps.connections.record_connections(changes).await?)
    }
}
