//! Identities written: created, replaced, deleted, their keys exchanged.

use std::collections::HashMap;

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::{Authentication, Device};
use downlink_domain::event::Event;
use downlink_domain::id::{DeviceId, DeviceKey, HubName};
use downlink_domain::twin::Twin;
use downlink_ports::connection_rules::deletion_event;
use downlink_ports::{
    RegistryError, RegistryPlan, RegistryRules, RegistryWrite, RegistryWritten, StoreError,
    devices_of, has_creations,
};
use serde_json::json;
use sqlx::SqliteConnection;

use super::{CERTIFICATE_AUTHORITY, NONE, SAS, SELF_SIGNED, device, module_text};
use crate::connection_store;
use crate::error::store_error;
use crate::fields::{Fields, stored};
use crate::outbox;
use crate::rows::{Bound, RowsStatement};
use crate::statements::{
    DELETE_OWN_CHANGES, DELETE_OWN_IDENTITIES, DELETE_OWN_MESSAGES, DELETE_OWN_TWINS,
    DELETE_SESSIONS, FIND_TWINS, FIND_UNDER_DEVICES, WRITE_IDENTITIES,
};
use crate::twin_store;
use crate::writer::{Scope, Work};

/// What removes the rows that belong to one life of an identity, the identity itself last.
static OWNED: [&RowsStatement; 5] = [
    &DELETE_OWN_MESSAGES,
    &DELETE_SESSIONS,
    &DELETE_OWN_CHANGES,
    &DELETE_OWN_TWINS,
    &DELETE_OWN_IDENTITIES,
];

/// Bytes that a write holds while it waits: most are far smaller than their bound.
const WRITE_BYTES: usize = 4_096;

pub(super) struct WriteIdentities {
    pub(super) hub: HubName,
    pub(super) writes: Vec<RegistryWrite>,
    pub(super) rules: RegistryRules,
    pub(super) by: Actor,
    pub(super) now: Timestamp,
}

#[async_trait]
impl Work for WriteIdentities {
    type Answer = Vec<Result<RegistryWritten, RegistryError>>;

    fn bytes(&self) -> usize {
        self.writes.len() * WRITE_BYTES
    }

    async fn run(self, scope: &mut Scope<'_>) -> Result<Self::Answer, StoreError> {
        let devices = devices_of(&self.writes);
        let counted = self.rules.max_identities.is_some() && has_creations(&self.writes);
        let count = if counted {
            count(scope.connection, &self.hub).await?
        } else {
            0
        };
        let last_key = last_key(scope.connection).await?;
        let current = find_under(scope.connection, &self.hub, devices.clone()).await?;
        let plan = RegistryPlan::of(
            &self.hub,
            current,
            count,
            self.writes,
            self.rules,
            (last_key.saturating_add(1)..).map(DeviceKey),
            self.now,
        );
        let last_twins = find_twins(scope.connection, &plan.ended).await?;
        let mut events = disconnects(scope.connection, &plan.ended, self.now).await?;
        delete_owned(scope.connection, &plan.ended).await?;
        let created = plan.inserted.iter().map(|(device, _)| device);
        let written: Vec<Device> = plan.updated.iter().chain(created).cloned().collect();
        write(scope.connection, written).await?;
        let twins = plan
            .inserted
            .iter()
            .map(|(device, twin)| (device.key, device.hub.clone(), twin.clone()));
        twin_store::write(scope.connection, twins.collect()).await?;
        for device in devices {
            scope.memory.forget_device(&(self.hub.clone(), device));
        }
        events.extend(plan.events(&last_twins, &self.by, self.now));
        outbox::insert(scope, events).await?;
        Ok(plan.answers)
    }
}

/// All identities of the devices named, modules too.
pub(super) async fn find_under(
    connection: &mut SqliteConnection,
    hub: &HubName,
    devices: Vec<DeviceId>,
) -> Result<Vec<Device>, StoreError> {
    let rows = FIND_UNDER_DEVICES
        .fetch(connection, None, devices, |query, id| {
            query.bind(hub.as_str()).bind(id.as_str())
        })
        .await
        .map_err(store_error)?;
    rows.iter().map(device).collect()
}

/// The last key that was given; the writer is alone, so the next ones are free.
async fn last_key(connection: &mut SqliteConnection) -> Result<i64, StoreError> {
    let last = sqlx::query_scalar(include_str!("../../queries/find_last_key.sql"))
        .fetch_one(connection)
        .await;
    last.map_err(store_error)
}

async fn count(connection: &mut SqliteConnection, hub: &HubName) -> Result<u64, StoreError> {
    let row = sqlx::query(include_str!("../../queries/count_identities.sql"))
        .bind(hub.as_str())
        .fetch_one(connection)
        .await
        .map_err(store_error)?;
    Fields::new(&row, "identities", "identities").number("identities")
}

async fn find_twins(
    connection: &mut SqliteConnection,
    ended: &[Device],
) -> Result<HashMap<DeviceKey, Twin>, StoreError> {
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
            Ok((ended[position].key, twin_store::read(&row, "etag")?))
        })
        .collect()
}

/// The disconnects of those that are connected.
async fn disconnects(
    connection: &mut SqliteConnection,
    ended: &[Device],
    now: Timestamp,
) -> Result<Vec<Event>, StoreError> {
    let connected = ended.iter().filter(|ended| ended.is_connected);
    let keys = connected.map(|ended| ended.key).collect();
    let recorded = connection_store::load(connection, keys).await?.into_iter();
    let events = recorded.filter_map(|recorded| deletion_event(recorded, now));
    Ok(events.collect())
}

async fn delete_owned(
    connection: &mut SqliteConnection,
    ended: &[Device],
) -> Result<(), StoreError> {
    // One statement for each table.
    for statement in OWNED {
        let keys: Vec<i64> = ended.iter().map(|ended| ended.key.0).collect();
        statement
            .execute(connection, keys, Bound::bind)
            .await
            .map_err(store_error)?;
    }
    Ok(())
}

/// Writes identities, new ones and old ones.
async fn write(connection: &mut SqliteConnection, devices: Vec<Device>) -> Result<(), StoreError> {
    WRITE_IDENTITIES
        .execute(connection, devices, |query, device| {
            let (kind, keys, thumbprints) = match device.authentication {
                Authentication::Sas(keys) => (SAS, Some(keys), (None, None)),
                Authentication::SelfSigned { primary, secondary } => {
                    (SELF_SIGNED, None, (primary, secondary))
                }
                Authentication::CertificateAuthority => (CERTIFICATE_AUTHORITY, None, (None, None)),
                Authentication::None => (NONE, None, (None, None)),
            };
            let (primary, secondary) = keys.map(|keys| (keys.primary, keys.secondary)).unzip();
            query
                .bind(device.key.0)
                .bind(device.hub.as_str().to_owned())
                .bind(device.name.device.as_str().to_owned())
                .bind(module_text(&device.name))
                .bind(stored(device.generation.0))
                .bind(stored(device.etag))
                .bind(device.status.as_str())
                .bind(device.status_reason)
                .bind(device.status_updated_at.as_millis())
                .bind(kind)
                .bind(primary)
                .bind(secondary)
                .bind(thumbprints.0)
                .bind(thumbprints.1)
                .bind(device.is_edge)
                .bind(device.connection_state_updated_at.as_millis())
                .bind(device.last_activity_at.as_millis())
                .bind(device.managed_by)
                .bind(device.device_scope)
                .bind(json!(device.parent_scopes).to_string())
        })
        .await
        .map_err(store_error)?;
    Ok(())
}
