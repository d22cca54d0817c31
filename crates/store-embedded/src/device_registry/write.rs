//! Identities created, replaced, deleted.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::{Authentication, Device, DeviceSpec, IfMatch};
use downlink_domain::id::{DeviceKey, HubName, IdentityName};
use downlink_domain::twin::Twin;
use downlink_ports::events::{AuditRecord, IdentityWrite, Lifecycle, audit_event, lifecycle_event};
use downlink_ports::{RegistryError, StoreError, registered};
use serde_json::json;
use sqlx::SqliteConnection;

use super::{CERTIFICATE_AUTHORITY, NONE, SAS, SELF_SIGNED, device, find, module_text};
use crate::error::store_error;
use crate::fields::{Fields, stored};
use crate::outbox;
use crate::statements::FIND_TWINS;
use crate::twin_store;
use crate::writer::{Scope, Work};

/// Tables of rows that belong to one life of an identity, the identity itself last.
const OWNED: [&str; 5] = [
    "DELETE FROM messages WHERE device_key = ?",
    "DELETE FROM sessions WHERE device_key = ?",
    "DELETE FROM desired_changes WHERE device_key = ?",
    "DELETE FROM twins WHERE device_key = ?",
    "DELETE FROM identities WHERE device_key = ?",
];

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

    async fn run(self, scope: &mut Scope<'_>) -> Result<Self::Answer, StoreError> {
        if let Err(error) = self.spec.check() {
            return Ok(Err(RegistryError::Invalid(error.to_string())));
        }
        let parent = IdentityName::from(self.name.device.clone());
        let names = vec![self.name.clone(), parent.clone()];
        let found = find(scope.connection, &self.hub, names).await?;
        if found[0].is_some() {
            return Ok(Err(RegistryError::AlreadyExists(self.name)));
        }
        if self.name.module.is_some() && found[1].is_none() {
            return Ok(Err(RegistryError::NotFound(parent)));
        }
        let inserted = sqlx::query(include_str!("../../queries/insert_identity.sql"))
            .bind(self.hub.as_str())
            .bind(self.name.device.as_str())
            .bind(module_text(&self.name))
            .execute(&mut *scope.connection)
            .await
            .map_err(store_error)?;
        let key = DeviceKey(inserted.last_insert_rowid());
        let created = registered(key, self.hub, self.name, self.spec, self.now);
        update(scope.connection, &created).await?;
        let twin = Twin::new(self.now);
        let record = AuditRecord::of_identity(IdentityWrite::Created, &created, &self.by, self.now);
        let events = vec![
            lifecycle_event(Lifecycle::Created, &created, &twin, self.now),
            audit_event(&record),
        ];
        twin_store::write(scope.connection, vec![(key, created.hub.clone(), twin)]).await?;
        outbox::insert(scope, events).await?;
        Ok(Ok(created))
    }
}

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

    async fn run(self, scope: &mut Scope<'_>) -> Result<Self::Answer, StoreError> {
        if let Err(error) = self.spec.check() {
            return Ok(Err(RegistryError::Invalid(error.to_string())));
        }
        let found = find_current(scope, &self.hub, self.name, &self.if_match).await?;
        let next = match found {
            Ok(found) => found.rewritten(self.spec, self.now),
            Err(error) => return Ok(Err(error)),
        };
        update(scope.connection, &next).await?;
        let record = AuditRecord::of_identity(IdentityWrite::Replaced, &next, &self.by, self.now);
        outbox::insert(scope, vec![audit_event(&record)]).await?;
        scope
            .memory
            .forget_device(&(self.hub, next.name.device.clone()));
        Ok(Ok(next))
    }
}

pub(super) struct Delete {
    pub(super) hub: HubName,
    pub(super) name: IdentityName,
    pub(super) if_match: IfMatch,
    pub(super) by: Actor,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for Delete {
    type Answer = Result<Device, RegistryError>;

    async fn run(self, scope: &mut Scope<'_>) -> Result<Self::Answer, StoreError> {
        let found = find_current(scope, &self.hub, self.name, &self.if_match).await?;
        let found = match found {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let mut ended = vec![found.clone()];
        if found.name.module.is_none() {
            ended.extend(find_modules(scope.connection, &found).await?);
        }
        let mut events = lifecycle_events(scope.connection, &ended, self.now).await?;
        let record = AuditRecord::of_identity(IdentityWrite::Deleted, &found, &self.by, self.now);
        events.push(audit_event(&record));
        // At most fifty modules a device.
        for ended in &ended {
            for statement in OWNED {
                sqlx::query(statement)
                    .bind(ended.key.0)
                    .execute(&mut *scope.connection)
                    .await
                    .map_err(store_error)?;
            }
        }
        scope
            .memory
            .forget_device(&(self.hub, found.name.device.clone()));
        outbox::insert(scope, events).await?;
        Ok(Ok(found))
    }
}

/// The identity of that name if the condition of the write holds.
async fn find_current(
    scope: &mut Scope<'_>,
    hub: &HubName,
    name: IdentityName,
    if_match: &IfMatch,
) -> Result<Result<Device, RegistryError>, StoreError> {
    let found = find(scope.connection, hub, vec![name.clone()]).await?;
    Ok(match found.into_iter().flatten().next() {
        None => Err(RegistryError::NotFound(name)),
        Some(found) if if_match.names(&found.etag_text()) => Ok(found),
        Some(_) => Err(RegistryError::PreconditionFailed(name)),
    })
}

async fn find_modules(
    connection: &mut SqliteConnection,
    parent: &Device,
) -> Result<Vec<Device>, StoreError> {
    let rows = sqlx::query(include_str!("../../queries/find_modules.sql"))
        .bind(parent.hub.as_str())
        .bind(parent.name.device.as_str())
        .fetch_all(connection)
        .await
        .map_err(store_error)?;
    rows.iter().map(device).collect()
}

async fn lifecycle_events(
    connection: &mut SqliteConnection,
    ended: &[Device],
    now: Timestamp,
) -> Result<Vec<downlink_domain::event::Event>, StoreError> {
    let wanted: Vec<_> = (0_i64..).zip(ended.iter().map(|ended| ended.key)).collect();
    let rows = FIND_TWINS
        .fetch(connection, None, wanted, |query, (position, key)| {
            query.bind(position).bind(key.0)
        })
        .await
        .map_err(store_error)?;
    rows.iter()
        .map(|row| {
            let row = Fields::new(row, "twins", "device_key");
            let position: usize = row.number("position")?;
            let twin = twin_store::read(&row, "etag")?;
            Ok(lifecycle_event(
                Lifecycle::Deleted,
                &ended[position],
                &twin,
                now,
            ))
        })
        .collect()
}

async fn update(connection: &mut SqliteConnection, device: &Device) -> Result<(), StoreError> {
    let (kind, keys, thumbprints) = match &device.authentication {
        Authentication::Sas(keys) => (SAS, Some(keys), (None, None)),
        Authentication::SelfSigned { primary, secondary } => (
            SELF_SIGNED,
            None,
            (primary.as_deref(), secondary.as_deref()),
        ),
        Authentication::CertificateAuthority => (CERTIFICATE_AUTHORITY, None, (None, None)),
        Authentication::None => (NONE, None, (None, None)),
    };
    sqlx::query(include_str!("../../queries/update_identity.sql"))
        .bind(device.key.0)
        .bind(stored(device.generation.0))
        .bind(stored(device.etag))
        .bind(device.status.as_str())
        .bind(device.status_reason.as_deref())
        .bind(device.status_updated_at.as_millis())
        .bind(kind)
        .bind(keys.map(|keys| &keys.primary[..]))
        .bind(keys.map(|keys| &keys.secondary[..]))
        .bind(thumbprints.0)
        .bind(thumbprints.1)
        .bind(device.is_edge)
        .bind(device.connection_state_updated_at.as_millis())
        .bind(device.last_activity_at.as_millis())
        .bind(device.managed_by.as_deref())
        .bind(device.device_scope.as_deref())
        .bind(json!(device.parent_scopes).to_string())
        .execute(connection)
        .await
        .map_err(store_error)?;
    Ok(())
}
