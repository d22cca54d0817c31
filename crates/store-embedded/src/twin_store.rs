//! Twins.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::device::Device;
use downlink_domain::event::Event;
use downlink_domain::id::{DeviceKey, HubName};
use downlink_domain::twin::{
    self, Object, Section, Twin, TwinChange, TwinError, TwinRules, TwinWritten,
};
use downlink_ports::events::twin_event;
use downlink_ports::{DesiredChanges, Since, StoreError, TwinStore};
use sqlx::SqliteConnection;

use crate::device_registry::device;
use crate::error::store_error;
use crate::fields::{Fields, stored};
use crate::outbox;
use crate::statements::{FIND_TWIN_VERSIONS, FIND_TWINS, FIND_TWINS_WITH_IDENTITIES, WRITE_TWINS};
use crate::store::Store;
use crate::writer::{Scope, Work};

use self::history::Told;

mod history;

/// Bytes that a change holds while it waits: most are far smaller than their bound.
const CHANGE_BYTES: usize = 4_096;

#[async_trait]
impl TwinStore for Store {
    async fn find_twins(&self, devices: Vec<DeviceKey>) -> Result<Vec<Option<Twin>>, StoreError> {
        let mut twins: Vec<Option<Twin>> = vec![None; devices.len()];
        let wanted: Vec<_> = (0_i64..).zip(devices).collect();
        let mut reader = self.reader().await?;
        let rows = FIND_TWINS
            .fetch(&mut reader, None, wanted, |query, (position, device)| {
                query.bind(position).bind(device.0)
            })
            .await
            .map_err(store_error)?;
        for row in &rows {
            let row = Fields::new(row, "twins", "device_key");
            let position: usize = row.number("position")?;
            twins[position] = Some(read(&row, "etag")?);
        }
        Ok(twins)
    }

    async fn find_twin_versions(
        &self,
        devices: Vec<DeviceKey>,
    ) -> Result<Vec<Option<u64>>, StoreError> {
        let mut versions: Vec<Option<u64>> = vec![None; devices.len()];
        let wanted: Vec<_> = (0_i64..).zip(devices).collect();
        let mut reader = self.reader().await?;
        let rows = FIND_TWIN_VERSIONS
            .fetch(&mut reader, None, wanted, |query, (position, device)| {
                query.bind(position).bind(device.0)
            })
            .await
            .map_err(store_error)?;
        for row in &rows {
            let row = Fields::new(row, "twins", "device_key");
            let position: usize = row.number("position")?;
            versions[position] = Some(row.number("version")?);
        }
        Ok(versions)
    }

    async fn find_changes(
        &self,
        wanted: Vec<(DeviceKey, Since)>,
    ) -> Result<Vec<Option<DesiredChanges>>, StoreError> {
        let mut reader = self.reader().await?;
        history::find(&mut reader, wanted).await
    }

    async fn update_twins(
        &self,
        changes: Vec<(DeviceKey, TwinChange)>,
        rules: TwinRules,
        now: Timestamp,
    ) -> Result<Vec<Option<Result<TwinWritten, TwinError>>>, StoreError> {
        let work = UpdateTwins {
            changes,
            rules,
            now,
        };
        self.queue.call(work).await
    }
}

struct UpdateTwins {
    changes: Vec<(DeviceKey, TwinChange)>,
    rules: TwinRules,
    now: Timestamp,
}

/// A twin as the changes so far leave it.
struct Current {
    device: Device,
    twin: Twin,
    is_changed: bool,
}

/// What changes leave beside the twins.
#[derive(Default)]
struct Traces {
    events: Vec<Event>,
    told: Vec<Told>,
}

#[async_trait]
impl Work for UpdateTwins {
    type Answer = Vec<Option<Result<TwinWritten, TwinError>>>;

    fn bytes(&self) -> usize {
        self.changes.len() * CHANGE_BYTES
    }

    async fn run(self, scope: &mut Scope<'_>) -> Result<Self::Answer, StoreError> {
        let keys: HashSet<_> = self.changes.iter().map(|(key, _)| *key).collect();
        let mut twins = load(scope.connection, keys.into_iter().collect()).await?;
        let mut traces = Traces::default();
        let mut answers = Vec::with_capacity(self.changes.len());
        for (key, change) in self.changes {
            let current = twins.get_mut(&key);
            let written =
                current.map(|current| apply(current, change, self.rules, self.now, &mut traces));
            answers.push(written);
        }
        let changed = twins.into_values().filter(|current| current.is_changed);
        let changed = changed.map(|current| (current.device.key, current.device.hub, current.twin));
        write(scope.connection, changed.collect()).await?;
        history::keep(scope.connection, traces.told, self.rules).await?;
        outbox::insert(scope, traces.events).await?;
        Ok(answers)
    }
}

fn apply(
    current: &mut Current,
    change: TwinChange,
    rules: TwinRules,
    now: Timestamp,
    traces: &mut Traces,
) -> Result<TwinWritten, TwinError> {
    let op_type = change.op_type();
    let written = twin::apply(&current.twin, change, rules, now)?;
    if let Some(body) = written.event.clone() {
        current.twin = written.twin.clone();
        current.is_changed = true;
        traces.events.push(twin_event(
            &current.device,
            &written.twin,
            op_type,
            body,
            now,
        ));
    }
    if let Some(notification) = &written.notification {
        traces.told.push(Told {
            device: current.device.key,
            hub: current.device.hub.clone(),
            version: notification.version,
            text: notification.kept_text(rules),
        });
    }
    Ok(written)
}

async fn load(
    connection: &mut SqliteConnection,
    keys: Vec<DeviceKey>,
) -> Result<HashMap<DeviceKey, Current>, StoreError> {
    let rows = FIND_TWINS_WITH_IDENTITIES
        .fetch(connection, None, keys, |query, key| query.bind(key.0))
        .await
        .map_err(store_error)?;
    rows.iter()
        .map(|row| {
            let device = device(row)?;
            let twin = read(&Fields::new(row, "twins", "device_key"), "twin_etag")?;
            let current = Current {
                device,
                twin,
                is_changed: false,
            };
            Ok((current.device.key, current))
        })
        .collect()
}

/// Reads a twin; `etag` is what its etag's column is called in this row.
pub(crate) fn read(row: &Fields<'_>, etag: &'static str) -> Result<Twin, StoreError> {
    Ok(Twin {
        tags: row.json("tags")?,
        desired: Section {
            values: row.json("desired")?,
            metadata: row.json("desired_metadata")?,
            version: row.number("desired_version")?,
        },
        reported: Section {
            values: row.json("reported")?,
            metadata: row.json("reported_metadata")?,
            version: row.number("reported_version")?,
        },
        etag: row.number(etag)?,
        version: row.number("version")?,
    })
}

/// Writes twins, new ones and others.
pub(crate) async fn write(
    connection: &mut SqliteConnection,
    twins: Vec<(DeviceKey, HubName, Twin)>,
) -> Result<(), StoreError> {
    WRITE_TWINS
        .execute(connection, twins, |query, (key, hub, twin)| {
            query
                .bind(key.0)
                .bind(hub.as_str())
                .bind(text(&twin.tags))
                .bind(text(&twin.desired.values))
                .bind(text(&twin.desired.metadata))
                .bind(stored(twin.desired.version))
                .bind(text(&twin.reported.values))
                .bind(text(&twin.reported.metadata))
                .bind(stored(twin.reported.version))
                .bind(stored(twin.etag))
                .bind(stored(twin.version))
        })
        .await
        .map_err(store_error)?;
    Ok(())
}

fn text(object: &Object) -> String {
    serde_json::to_string(object).expect("JSON values are always JSON")
}
