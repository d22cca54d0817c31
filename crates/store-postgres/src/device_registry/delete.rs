//! Identities deleted, with all that is their own.

use std::collections::HashMap;

use crate::session::Session;
use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::{Device, IfMatch};
use downlink_domain::event::Event;
use downlink_domain::id::{DeviceKey, HubName, IdentityName};
use downlink_domain::twin::Twin;
use downlink_ports::events::{AuditRecord, IdentityWrite, Lifecycle, audit_event, lifecycle_event};
use downlink_ports::{RegistryError, StoreError};

use super::{checked, device, module_text};
use crate::error::Failure;
use crate::fields::Fields;
use crate::outbox;
use crate::retry::{Extent, Repeat, Work};
use crate::twin_store;

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
    const EXTENT: Extent = Extent::Transaction;
    // A second time would find nothing.
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let found = self.lock(connection).await?;
        let found = match checked(found, &self.name, &self.if_match) {
            Ok(found) => found,
            Err(error) => return Ok(Err(error)),
        };
        let mut ended = vec![found.clone()];
        if found.name.module.is_none() {
            ended.extend(self.lock_modules(connection).await?);
        }
        // Takes the locks of the twins before the events get their positions: an event of a twin
        // written before stands before this one.
        let twins = delete_owned(connection, &ended).await?;
        let mut events = self.events(&ended, &twins);
        let write = IdentityWrite::Deleted;
        let record = AuditRecord::of_identity(write, &found, &self.by, self.now);
        events.push(audit_event(&record));
        outbox::insert(connection, &events).await?;
        Ok(Ok(found))
    }
}

impl Delete {
    async fn lock(&self, connection: &mut Session<'_>) -> Result<Option<Device>, Failure> {
        let row = sqlx::query(include_str!("../../queries/lock_identity_for_deletion.sql"))
            .bind(self.hub.as_str())
            .bind(self.name.device.as_str())
            .bind(module_text(&self.name))
            .fetch_optional(connection)
            .await?;
        Ok(row.as_ref().map(device).transpose()?)
    }

    async fn lock_modules(&self, connection: &mut Session<'_>) -> Result<Vec<Device>, Failure> {
        let rows = sqlx::query(include_str!("../../queries/lock_modules_for_deletion.sql"))
            .bind(self.hub.as_str())
            .bind(self.name.device.as_str())
            .fetch_all(connection)
            .await?;
        let modules = rows.iter().map(device).collect::<Result<_, _>>();
        Ok(modules?)
    }

    fn events(&self, ended: &[Device], twins: &HashMap<DeviceKey, Twin>) -> Vec<Event> {
        let events = ended.iter().filter_map(|ended| {
            let twin = twins.get(&ended.key)?;
            Some(lifecycle_event(Lifecycle::Deleted, ended, twin, self.now))
        });
        events.collect()
    }
}

/// Deletes the identities with all that is their own; what their twins were.
async fn delete_owned(
    connection: &mut Session<'_>,
    ended: &[Device],
) -> Result<HashMap<DeviceKey, Twin>, Failure> {
    let keys: Vec<i64> = ended.iter().map(|ended| ended.key.0).collect();
    let rows = sqlx::query(include_str!("../../queries/delete_owned.sql"))
        .bind(keys)
        .fetch_all(connection)
        .await?;
    let twins = rows.iter().map(|row| {
        let row = Fields::new(row, "twins", "device_key");
        let key = DeviceKey(row.get("device_key")?);
        Ok((key, twin_store::read(&row, "etag")?))
    });
    let twins: Result<_, StoreError> = twins.collect();
    Ok(twins?)
}
