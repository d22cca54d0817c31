//! Identities: create, replace, delete, list, count (registry.md §2).

use downlink_domain::ErrorCode;
use downlink_domain::device::{Device, DeviceSpec, IfMatch};
use downlink_domain::id::{HubName, IdentityName};
use downlink_domain::presence::DisconnectReason;
use downlink_ports::{ConnectionChange, PeerError, RegistryCounts};

use crate::error::{of_registry, refused};
use crate::service::TwinService;

/// Most devices of one list (registry.md §1).
const MAX_LISTED: u32 = 1000;

impl TwinService {
    pub(crate) async fn put(
        &self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        if_match: IfMatch,
    ) -> Result<Device, PeerError> {
        spec.check()
            .map_err(|error| PeerError::refused(error.code(), &error))?;
        if name.module.is_some() {
            return Err(refused(
                ErrorCode::OperationNotAvailableInCurrentTier,
                "this hub has no module identities",
            ));
        }
        if if_match == IfMatch::Absent {
            let now = self.deps.clock.now();
            let created = self.deps.registry.create(hub, name, spec, now).await?;
            return created.map_err(|error| of_registry(&error));
        }
        self.replace(hub, name, spec, if_match).await
    }

    async fn replace(
        &self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        if_match: IfMatch,
    ) -> Result<Device, PeerError> {
        let before = self.get_identity(hub.clone(), &name).await?;
        let now = self.deps.clock.now();
        let written = self
            .deps
            .registry
            .replace(hub, name, spec, if_match, now)
            .await?;
        let after = written.map_err(|error| of_registry(&error))?;
        // Another write in between leaves unknown what connections were made with.
        let is_next = after.key == before.key && after.etag == before.etag + 1;
        let reason = match before.find_revocation(&after) {
            None if !is_next => Some(DisconnectReason::KeysChanged),
            reason => reason,
        };
        if let Some(reason) = reason {
            self.revoker.revoke(after.key, reason).await;
        }
        Ok(after)
    }

    pub(crate) async fn delete(
        &self,
        hub: HubName,
        name: IdentityName,
        if_match: IfMatch,
    ) -> Result<(), PeerError> {
        if if_match == IfMatch::Absent {
            self.get_identity(hub, &name).await?;
            return Err(refused(ErrorCode::PreconditionFailed, "Etag missing"));
        }
        let now = self.deps.clock.now();
        let deleted = self.deps.registry.delete(hub, name, if_match, now).await?;
        let device = deleted.map_err(|error| of_registry(&error))?;
        self.revoker
            .revoke(device.key, DisconnectReason::Deleted)
            .await;
        Ok(())
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
        Ok(self.deps.registry.record_connections(changes).await?)
    }
}
