//! Identities written: created, replaced, deleted, their keys exchanged.

use std::collections::{HashMap, HashSet};

use crate::session::Session;
use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::Device;
use downlink_domain::event::Event;
use downlink_domain::id::{DeviceId, DeviceKey, HubName};
use downlink_domain::twin::Twin;
use downlink_ports::connection_rules::deletion_event;
use downlink_ports::{
    RegistryChange, RegistryError, RegistryPlan, RegistryRules, RegistryWrite, RegistryWritten,
    StoreError, devices_of, has_creations, most_keys,
};

use super::columns::{insert_identities, update_identities};
use super::device;
use crate::connection_store;
use crate::error::Failure;
use crate::fields::Fields;
use crate::outbox;
use crate::retry::{Extent, Repeat, Work};
use crate::twin_store;

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
    const EXTENT: Extent = Extent::Transaction;
    // A second time would find names taken, etags changed or nothing, by the first.
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let count = self.count(connection).await?;
        let current = self.lock(connection).await?;
        let keys = self.draw_keys(connection).await?;
        let mut plan = RegistryPlan::of(
            &self.hub,
            current,
            count,
            self.writes.clone(),
            self.rules,
            keys.into_iter().map(DeviceKey),
            self.now,
        );
        // Takes the locks of the twins before the events get their positions: an event of a twin
        // written before stands before the one of its end.
        let mut events = disconnects(connection, &plan.ended, self.now).await?;
        let last_twins = delete_owned(connection, &plan.ended).await?;
        update_identities(connection, &plan.updated).await?;
        self.insert(connection, &mut plan).await?;
        events.extend(plan.events(&last_twins, &self.by, self.now));
        outbox::insert(connection, &events).await?;
        Ok(plan.answers)
    }
}

impl WriteIdentities {
    /// How many identities the hub has, when that matters; nobody adds any until the end of the
    /// transaction then.
    async fn count(&self, connection: &mut Session<'_>) -> Result<u64, Failure> {
        if self.rules.max_identities.is_none() || !has_creations(&self.writes) {
            return Ok(0);
        }
        sqlx::query(include_str!("../../queries/lock_hub_for_creation.sql"))
            .bind(self.hub.as_str())
            .execute(&mut *connection)
            .await?;
        let row = sqlx::query(include_str!("../../queries/count_identities.sql"))
            .bind(self.hub.as_str())
            .fetch_one(connection)
            .await?;
        Ok(Fields::new(&row, "identities", "identities").number("identities")?)
    }

    /// Locks the identities of the devices that the writes are about: devices first, in order, so
    /// that writers of the same ones follow each other, then their modules as they are after that.
    async fn lock(&self, connection: &mut Session<'_>) -> Result<Vec<Device>, Failure> {
        let ids = devices_of(&self.writes);
        let ids: Vec<&str> = ids.iter().map(DeviceId::as_str).collect();
        let is_end = |write: &RegistryWrite| matches!(write.change, RegistryChange::Delete { .. });
        let statements = if self.writes.iter().any(is_end) {
            [
                include_str!("../../queries/lock_devices_for_deletion.sql"),
                include_str!("../../queries/lock_modules_for_deletion.sql"),
            ]
        } else {
            [
                include_str!("../../queries/lock_devices_for_write.sql"),
                include_str!("../../queries/lock_modules_for_write.sql"),
            ]
        };
        let mut current = Vec::new();
        for statement in statements {
            let rows = sqlx::query(statement)
                .bind(self.hub.as_str())
                .bind(&ids)
                .fetch_all(&mut *connection)
                .await?;
            let rows: Result<Vec<Device>, StoreError> = rows.iter().map(device).collect();
            current.extend(rows?);
        }
        Ok(current)
    }

    async fn draw_keys(&self, connection: &mut Session<'_>) -> Result<Vec<i64>, Failure> {
        let most = most_keys(&self.writes);
        if most == 0 {
            return Ok(Vec::new());
        }
        let keys = sqlx::query_scalar(include_str!("../../queries/draw_identity_keys.sql"))
            .bind(i64::try_from(most).unwrap_or(i64::MAX))
            .fetch_all(connection)
            .await?;
        Ok(keys)
    }

    /// Inserts what is new, modules only of devices that are there: a name may have been taken by
    /// somebody who committed since the locks.
    async fn insert(
        &self,
        connection: &mut Session<'_>,
        plan: &mut RegistryPlan,
    ) -> Result<(), Failure> {
        if plan.inserted.is_empty() {
            return Ok(());
        }
        let (devices, modules): (Vec<&Device>, Vec<&Device>) = plan
            .inserted
            .iter()
            .map(|(device, _)| device)
            .partition(|device| device.name.module.is_none());
        let mut inserted = insert_identities(connection, &self.hub, &devices).await?;
        let lost: HashSet<_> = devices
            .iter()
            .filter(|device| !inserted.contains(&device.key))
            .map(|device| &device.name.device)
            .collect();
        let modules: Vec<_> = modules
            .into_iter()
            .filter(|module| !lost.contains(&module.name.device))
            .collect();
        inserted.extend(insert_identities(connection, &self.hub, &modules).await?);
        plan.keep_inserted(&inserted);
        twin_store::insert(connection, &self.hub, &plan.inserted).await?;
        Ok(())
    }
}

/// The disconnects of those that are connected, whose rows are locked already.
async fn disconnects(
    connection: &mut Session<'_>,
    ended: &[Device],
    now: Timestamp,
) -> Result<Vec<Event>, Failure> {
    let connected = ended.iter().filter(|ended| ended.is_connected);
    let keys: Vec<i64> = connected.map(|ended| ended.key.0).collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query(include_str!("../../queries/find_connections.sql"))
        .bind(keys)
        .fetch_all(connection)
        .await?;
    let recorded: Result<Vec<_>, _> = rows.iter().map(connection_store::recorded).collect();
    let events = recorded?.into_iter();
    Ok(events
        .filter_map(|recorded| deletion_event(recorded, now))
        .collect())
}

/// Deletes the identities with all that is their own; what their twins were.
async fn delete_owned(
    connection: &mut Session<'_>,
    ended: &[Device],
) -> Result<HashMap<DeviceKey, Twin>, Failure> {
    if ended.is_empty() {
        return Ok(HashMap::new());
    }
    let keys: Vec<i64> = ended.iter().map(|ended| ended.key.0).collect();
    // What a write of a twin that is under way brings along is seen by the statement after this one.
    sqlx::query(include_str!("../../queries/lock_twins_for_deletion.sql"))
        .bind(&keys)
        .execute(&mut *connection)
        .await?;
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
