//! Twins written.

use std::collections::BTreeMap;

use crate::session::Session;
use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::device::Device;
use downlink_domain::event::Event;
use downlink_domain::id::DeviceKey;
use downlink_domain::twin::{self, Twin, TwinChange, TwinError, TwinRules, TwinWritten};
use downlink_ports::StoreError;
use downlink_ports::events::twin_event;

use super::history::{Kept, Told};
use super::{read, text};
use crate::device_registry::device;
use crate::error::Failure;
use crate::fields::{Fields, stored};
use crate::outbox;
use crate::retry::{Extent, Repeat, Work};

pub(super) struct UpdateTwins {
    pub(super) changes: Vec<(DeviceKey, TwinChange)>,
    pub(super) rules: TwinRules,
    pub(super) now: Timestamp,
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
    const EXTENT: Extent = Extent::Transaction;
    // Versions would rise twice, and conditions fail.
    const REPEAT: Repeat = Repeat::Harmful;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let mut twins = self.lock(connection).await?;
        let mut traces = Traces::default();
        let answers = self.changes.iter().map(|(key, change)| {
            let current = twins.get_mut(key)?;
            Some(self.apply(current, change, &mut traces))
        });
        let answers = answers.collect();
        twins.retain(|_, current| current.is_changed);
        if !twins.is_empty() {
            write(connection, &twins).await?;
            // After the locks of the rows: the events of one twin have positions in the order of
            // its versions.
            outbox::insert(connection, &traces.events).await?;
            Kept::of(traces.told, self.rules).write(connection).await?;
        }
        Ok(answers)
    }
}

impl UpdateTwins {
    async fn lock(
        &self,
        connection: &mut Session<'_>,
    ) -> Result<BTreeMap<DeviceKey, Current>, Failure> {
        let mut keys: Vec<i64> = self.changes.iter().map(|(key, _)| key.0).collect();
        keys.sort_unstable();
        keys.dedup();
        let rows = sqlx::query(include_str!("../../queries/lock_twins.sql"))
            .bind(keys)
            .fetch_all(connection)
            .await?;
        let twins = rows.iter().map(|row| {
            let current = Current {
                device: device(row)?,
                twin: read(&Fields::new(row, "twins", "device_key"), "twin_etag")?,
                is_changed: false,
            };
            Ok((current.device.key, current))
        });
        let twins: Result<_, StoreError> = twins.collect();
        Ok(twins?)
    }

    fn apply(
        &self,
        current: &mut Current,
        change: &TwinChange,
        traces: &mut Traces,
    ) -> Result<TwinWritten, TwinError> {
        let op_type = change.op_type();
        let written = twin::apply(&current.twin, change.clone(), self.rules, self.now)?;
        if let Some(body) = written.event.clone() {
            current.twin = written.twin.clone();
            current.is_changed = true;
            let event = twin_event(&current.device, &written.twin, op_type, body, self.now);
            traces.events.push(event);
        }
        if let Some(notification) = &written.notification {
            traces.told.push(Told {
                device: current.device.key,
                hub: current.device.hub.clone(),
                version: notification.version,
                text: notification.kept_text(self.rules),
            });
        }
        Ok(written)
    }
}

/// Writes twins that are there, one statement for all.
async fn write(
    connection: &mut Session<'_>,
    twins: &BTreeMap<DeviceKey, Current>,
) -> sqlx::Result<()> {
    let column = |of: fn(&Twin) -> i64| -> Vec<i64> {
        twins.values().map(|current| of(&current.twin)).collect()
    };
    let json = |of: fn(&Twin) -> String| -> Vec<String> {
        twins.values().map(|current| of(&current.twin)).collect()
    };
    let keys: Vec<i64> = twins.keys().map(|key| key.0).collect();
    sqlx::query(include_str!("../../queries/update_twins.sql"))
        .bind(keys)
        .bind(json(|twin| text(&twin.tags)))
        .bind(json(|twin| text(&twin.desired.values)))
        .bind(json(|twin| text(&twin.desired.metadata)))
        .bind(column(|twin| stored(twin.desired.version)))
        .bind(json(|twin| text(&twin.reported.values)))
        .bind(json(|twin| text(&twin.reported.metadata)))
        .bind(column(|twin| stored(twin.reported.version)))
        .bind(column(|twin| stored(twin.etag)))
        .bind(column(|twin| stored(twin.version)))
        .execute(connection)
        .await?;
    Ok(())
}
