//! Identities created.

use crate::session::Session;
use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::{Device, DeviceSpec};
use downlink_domain::id::{DeviceKey, HubName, IdentityName};
use downlink_domain::twin::Twin;
use downlink_ports::events::{AuditRecord, IdentityWrite, Lifecycle, audit_event, lifecycle_event};
use downlink_ports::{RegistryError, registered};
use serde_json::json;

use super::{Proof, module_text};
use crate::error::Failure;
use crate::fields::stored;
use crate::outbox;
use crate::retry::{Extent, Repeat, Work};
use crate::twin_store;

pub(super) struct Create {
    pub(super) hub: HubName,
    pub(super) name: IdentityName,
    pub(super) spec: DeviceSpec,
    pub(super) by: Actor,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for Create {
    type Answer = Result<Device, RegistryError>;
    const EXTENT: Extent = Extent::Transaction;
    // A second time would find the name taken, by the first.
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        if self.name.module.is_some() && !self.share_device(connection).await? {
            let device = IdentityName::from(self.name.device.clone());
            return Ok(Err(RegistryError::NotFound(device)));
        }
        let key: i64 = sqlx::query_scalar("SELECT nextval('identity_keys')")
            .fetch_one(&mut *connection)
            .await?;
        let created = registered(
            DeviceKey(key),
            self.hub.clone(),
            self.name.clone(),
            self.spec.clone(),
            self.now,
        );
        if !insert(connection, &created).await? {
            return Ok(Err(RegistryError::AlreadyExists(self.name.clone())));
        }
        let twin = Twin::new(self.now);
        twin_store::insert(connection, &created, &twin).await?;
        let write = IdentityWrite::Created;
        let record = AuditRecord::of_identity(write, &created, &self.by, self.now);
        let events = [
            lifecycle_event(Lifecycle::Created, &created, &twin, self.now),
            audit_event(&record),
        ];
        outbox::insert(connection, &events).await?;
        Ok(Ok(created))
    }
}

impl Create {
    /// Keeps the module's device until the end of the transaction; tells whether there is one.
    async fn share_device(&self, connection: &mut Session<'_>) -> sqlx::Result<bool> {
        let found = sqlx::query(include_str!("../../queries/share_device.sql"))
            .bind(self.hub.as_str())
            .bind(self.name.device.as_str())
            .fetch_optional(connection)
            .await?;
        Ok(found.is_some())
    }
}

/// Inserts the identity unless its name is taken; tells whether it did.
async fn insert(connection: &mut Session<'_>, device: &Device) -> sqlx::Result<bool> {
    let proof = Proof::of(&device.authentication);
    let inserted = sqlx::query(include_str!("../../queries/insert_identity.sql"))
        .bind(device.key.0)
        .bind(device.hub.as_str())
        .bind(device.name.device.as_str())
        .bind(module_text(&device.name))
        .bind(stored(device.generation.0))
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
        .bind(device.connection_state_updated_at.as_millis())
        .bind(device.last_activity_at.as_millis())
        .bind(device.managed_by.as_deref())
        .bind(device.device_scope.as_deref())
        .bind(json!(device.parent_scopes).to_string())
        .execute(connection)
        .await?;
    Ok(inserted.rows_affected() == 1)
}
