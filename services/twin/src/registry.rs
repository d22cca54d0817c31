//! Identities: create, replace, delete, list, count (registry.md §2).

use std::sync::Arc;

use downlink_domain::ErrorCode;
use downlink_domain::access::Actor;
use downlink_domain::device::{Device, DeviceSpec, IfMatch};
use downlink_domain::id::{HubName, IdentityName};
use downlink_domain::presence::DisconnectReason;
use downlink_ports::{ConnectionChange, PeerError, RegistryCounts};
use downlink_runtime::{OnError, SubmitError};
use tokio::sync::oneshot;

use crate::error::{of_registry, of_submit, refused};
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
        by: Actor,
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
            let created = self.deps.registry.create(hub, name, spec, by, now).await?;
            return created.map_err(|error| of_registry(&error));
        }
        self.replace(hub, name, spec, if_match, by).await
    }

    async fn replace(
        &self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<Device, PeerError> {
        let before = self.get_identity(hub.clone(), &name).await?;
        let (registry, revoker) = (Arc::clone(&self.deps.registry), self.revoker.clone());
        let now = self.deps.clock.now();
        let write = async move {
            let written = registry.replace(hub, name, spec, if_match, by, now).await?;
            let after = written.map_err(|error| of_registry(&error))?;
            // Another write in between leaves unknown what connections were made with.
            let is_next = after.key == before.key && after.etag == before.etag + 1;
            let reason = match before.find_revocation(&after) {
                None if !is_next => Some(DisconnectReason::KeysChanged),
                reason => reason,
            };
            if let Some(reason) = reason {
                revoker.revoke(after.key, reason).await;
            }
            Ok(after)
        };
        self.carry_out(write).await
    }

    pub(crate) async fn delete(
        &self,
        hub: HubName,
        name: IdentityName,
        if_match: IfMatch,
        by: Actor,
    ) -> Result<(), PeerError> {
        if if_match == IfMatch::Absent {
            self.get_identity(hub, &name).await?;
            return Err(refused(ErrorCode::PreconditionFailed, "Etag missing"));
        }
        let (registry, revoker) = (Arc::clone(&self.deps.registry), self.revoker.clone());
        let now = self.deps.clock.now();
        let write = async move {
            let deleted = registry.delete(hub, name, if_match, by, now).await?;
            let device = deleted.map_err(|error| of_registry(&error))?;
            revoker.revoke(device.key, DisconnectReason::Deleted).await;
            Ok(())
        };
        self.carry_out(write).await
    }

    /// Carries a write out to its end, also when the caller hangs up: an identity that is disabled
    /// on disk must not keep its connection because nobody waited for the answer.
    async fn carry_out<T: Send + 'static>(
        &self,
        write: impl Future<Output = Result<T, PeerError>> + Send + 'static,
    ) -> Result<T, PeerError> {
        let (answer, answered) = oneshot::channel();
        self.lifecycle
            .spawn("twin.identity", OnError::Log, async move {
                // A caller that went away needs no answer.
                let _ = answer.send(write.await);
            });
        let lost = |_| of_submit(SubmitError::Lost);
        answered.await.map_err(lost)?
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
