//! Twins.

use std::collections::HashMap;

use crate::session::Session;
use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::device::Device;
use downlink_domain::id::{DeviceKey, HubName};
use downlink_domain::twin::{Object, Section, Twin, TwinChange, TwinError, TwinRules, TwinWritten};
use downlink_ports::{DesiredChanges, Since, StoreError, TwinStore};

use self::history::FindChanges;
use self::update::UpdateTwins;
use crate::error::Failure;
use crate::fields::{Fields, stored};
use crate::retry::{Extent, Repeat, Work};
use crate::store::PostgresStore;

mod history;
mod update;

#[async_trait]
impl TwinStore for PostgresStore {
    async fn find_twins(&self, devices: Vec<DeviceKey>) -> Result<Vec<Option<Twin>>, StoreError> {
        let twins = self.run(&Find { devices: &devices }).await?;
        Ok(by_position(&devices, &twins))
    }

    async fn find_twin_versions(
        &self,
        devices: Vec<DeviceKey>,
    ) -> Result<Vec<Option<u64>>, StoreError> {
        let versions = self.run(&FindVersions { devices: &devices }).await?;
        Ok(by_position(&devices, &versions))
    }

    async fn find_changes(
        &self,
        wanted: Vec<(DeviceKey, Since)>,
    ) -> Result<Vec<Option<DesiredChanges>>, StoreError> {
        self.run(&FindChanges { wanted }).await
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
        self.run(&work).await
    }
}

struct Find<'a> {
    devices: &'a [DeviceKey],
}

#[async_trait]
impl Work for Find<'_> {
    type Answer = HashMap<DeviceKey, Twin>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let rows = sqlx::query(include_str!("../queries/find_twins.sql"))
            .bind(keys(self.devices))
            .fetch_all(connection)
            .await?;
        let twins = rows.iter().map(|row| {
            let row = Fields::new(row, "twins", "device_key");
            Ok((DeviceKey(row.get("device_key")?), read(&row, "etag")?))
        });
        let twins: Result<_, StoreError> = twins.collect();
        Ok(twins?)
    }
}

struct FindVersions<'a> {
    devices: &'a [DeviceKey],
}

#[async_trait]
impl Work for FindVersions<'_> {
    type Answer = HashMap<DeviceKey, u64>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let rows = sqlx::query(include_str!("../queries/find_twin_versions.sql"))
            .bind(keys(self.devices))
            .fetch_all(connection)
            .await?;
        let versions = rows.iter().map(|row| {
            let row = Fields::new(row, "twins", "device_key");
            Ok((DeviceKey(row.get("device_key")?), row.number("version")?))
        });
        let versions: Result<_, StoreError> = versions.collect();
        Ok(versions?)
    }
}

fn keys(devices: &[DeviceKey]) -> Vec<i64> {
    devices.iter().map(|device| device.0).collect()
}

fn by_position<T: Clone>(devices: &[DeviceKey], found: &HashMap<DeviceKey, T>) -> Vec<Option<T>> {
    let found = devices.iter().map(|device| found.get(device).cloned());
    found.collect()
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

/// Writes the twins of new identities.
pub(crate) async fn insert(
    connection: &mut Session<'_>,
    hub: &HubName,
    created: &[(Device, Twin)],
) -> sqlx::Result<()> {
    fn each<T>(created: &[(Device, Twin)], column: impl Fn(&Twin) -> T) -> Vec<T> {
        created.iter().map(|(_, twin)| column(twin)).collect()
    }
    let keys: Vec<i64> = created.iter().map(|(device, _)| device.key.0).collect();
    sqlx::query(include_str!("../queries/insert_twins.sql"))
        .bind(hub.as_str())
        .bind(keys)
        .bind(each(created, |twin| text(&twin.tags)))
        .bind(each(created, |twin| text(&twin.desired.values)))
        .bind(each(created, |twin| text(&twin.desired.metadata)))
        .bind(each(created, |twin| stored(twin.desired.version)))
        .bind(each(created, |twin| text(&twin.reported.values)))
        .bind(each(created, |twin| text(&twin.reported.metadata)))
        .bind(each(created, |twin| stored(twin.reported.version)))
        .bind(each(created, |twin| stored(twin.etag)))
        .bind(each(created, |twin| stored(twin.version)))
        .execute(connection)
        .await?;
    Ok(())
}

fn text(object: &Object) -> String {
    serde_json::to_string(object).expect("JSON values are always JSON")
}
