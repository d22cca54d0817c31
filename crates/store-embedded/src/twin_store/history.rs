//! Changes of desired that are kept for devices that were away.

use std::collections::HashMap;

use downlink_domain::id::{DeviceKey, HubName};
use downlink_domain::twin::TwinRules;
use downlink_ports::{DesiredChanges, Since, StoreError};
use sqlx::SqliteConnection;

use crate::error::store_error;
use crate::fields::{Fields, stored};
use crate::statements::{DROP_CHANGES, FIND_CHANGES, KEEP_CHANGES};

/// A change that was told.
pub(super) struct Told {
    pub(super) device: DeviceKey,
    pub(super) hub: HubName,
    pub(super) version: u64,
    /// Its text, if it is to be kept.
    pub(super) text: Option<String>,
}

pub(super) async fn find(
    connection: &mut SqliteConnection,
    wanted: Vec<(DeviceKey, Since)>,
) -> Result<Vec<Option<DesiredChanges>>, StoreError> {
    let mut found: Vec<Option<DesiredChanges>> = vec![None; wanted.len()];
    let wanted: Vec<_> = (0_i64..).zip(wanted).collect();
    let rows = FIND_CHANGES
        .fetch(
            connection,
            None,
            wanted,
            |query, (position, (device, since))| {
                let version = match since {
                    Since::Version(version) => Some(stored(version)),
                    Since::LastTold | Since::Now => None,
                };
                let use_told = (since == Since::LastTold).then_some(1_i64);
                query
                    .bind(position)
                    .bind(device.0)
                    .bind(version)
                    .bind(use_told)
            },
        )
        .await
        .map_err(store_error)?;
    for row in &rows {
        let row = Fields::new(row, "desired_changes", "device_key");
        let position: usize = row.number("position")?;
        let changes = found[position].get_or_insert_default();
        changes.version = row.number("desired_version")?;
        changes.since = row.number("since")?;
        if let Some(version) = row.get::<Option<i64>>("change_version")? {
            let version = u64::try_from(version).map_err(|_| row.corrupt("change_version"))?;
            let body: String = row.get("body")?;
            changes.kept.push((version, body.into()));
        }
    }
    Ok(found)
}

/// Keeps the newest of `told`, which are in the order of their versions, and removes what they
/// push out.
pub(super) async fn keep(
    connection: &mut SqliteConnection,
    told: Vec<Told>,
    rules: TwinRules,
) -> Result<(), StoreError> {
    let mut floors = HashMap::new();
    for change in &told {
        let floor = change.version.saturating_sub(rules.kept_changes.into());
        floors.insert(change.device, floor);
    }
    let kept = told.into_iter().filter_map(|change| {
        let is_new = change.version > floors[&change.device];
        let text = change.text.filter(|_| is_new)?;
        Some((change.device, change.version, change.hub, text))
    });
    KEEP_CHANGES
        .execute(
            connection,
            kept.collect(),
            |query, (device, version, hub, text)| {
                query
                    .bind(device.0)
                    .bind(stored(version))
                    .bind(hub.to_string())
                    .bind(text)
            },
        )
        .await
        .map_err(store_error)?;
    DROP_CHANGES
        .execute(
            connection,
            floors.into_iter().collect(),
            |query, (device, floor)| query.bind(device.0).bind(stored(floor)),
        )
        .await
        .map_err(store_error)?;
    Ok(())
}
