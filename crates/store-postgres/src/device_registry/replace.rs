//! Identities replaced.

use crate::session::Session;
use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::{Device, DeviceSpec, IfMatch};
use downlink_domain::id::{HubName, IdentityName};
use downlink_ports::RegistryError;
use downlink_ports::events::{AuditRecord, IdentityWrite, audit_event};
use serde_json::json;

use super::{Proof, checked, device, module_text};
use crate::error::Failure;
use crate::fields::stored;
use crate::outbox;
use crate::retry::{Extent, Repeat, Work};

pub(super) struct Replace {
    pub(super) hub: HubName,
    pub(super) name: IdentityName,
    pub(super) spec: DeviceSpec,
    pub(super) if_match: IfMatch,
    pub(super) by: Actor,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for Replace {
    type Answer = Result<Device, RegistryError>;
    const EXTENT: Extent = Extent::Transaction;
    // The first time changes the etag that the condition names.
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let row = sqlx::query(include_str!("../../queries/lock_identity_for_write.sql"))
            .bind(self.hub.as_str())
            .bind(self.name.device.as_str())
            .bind(module_text(&self.name))
            .fetch_optional(&mut *connection)
            .await?;
        let found = row.as_ref().map(device).transpose()?;
        let next = match checked(found, &self.name, &self.if_match) {
            Ok(found) => found.rewritten(self.spec.clone(), self.now),
            Err(error) => return Ok(Err(error)),
        };
        update(connection, &next).await?;
        let write = IdentityWrite::Replaced;
        let record = AuditRecord::of_identity(write, &next, &self.by, self.now);
        outbox::insert(connection, &[audit_event(&record)]).await?;
        Ok(Ok(next))
    }
}

/// Writes what a [`DeviceSpec`] says, and what follows from the write.
async fn update(connection: &mut Session<'_>, device: &Device) -> sqlx::Result<()> {
    let proof = Proof::of(&device.authentication);
    sqlx::query(include_str!("../../queries/update_identity.sql"))
        .bind(device.key.0)
        .bind(stored(device.etag))
        .bind(device.status.as_str())
        .bind(device.status_reason.as_deref())
        .bind(device.status_updated_at.as_millis())
        .bind(proof.kind)
        .bind(proof.keys[0])
        .bind(proof.keys[1])
        .bind(proof.thumbprints[0])
        .bind(proof.thumbprints[1])
        .bind(device.is_edge)
        .bind(device.managed_by.as_deref())
        .bind(device.device_scope.as_deref())
        .bind(json!(device.parent_scopes).to_string())
        .execute(connection)
        .await?;
    Ok(())
}
