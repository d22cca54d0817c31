//! Identities.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::SymmetricKeys;
use downlink_domain::device::{Authentication, Device, DeviceStatus};
use downlink_domain::id::{DeviceId, DeviceKey, GenerationId, HubName, IdentityName};
use downlink_ports::{
    DeviceRegistry, RegistryCounts, RegistryError, RegistryRules, RegistryWrite, RegistryWritten,
    StoreError,
};
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use self::write::WriteIdentities;
use crate::error::store_error;
use crate::fields::Fields;
use crate::statements::FIND_IDENTITIES;
use crate::store::Store;

mod write;

#[async_trait]
impl DeviceRegistry for Store {
    async fn write(
        &self,
        hub: HubName,
        writes: Vec<RegistryWrite>,
        rules: RegistryRules,
        by: Actor,
        now: Timestamp,
    ) -> Result<Vec<Result<RegistryWritten, RegistryError>>, StoreError> {
        let work = WriteIdentities {
            hub,
            writes,
            rules,
            by,
            now,
        };
        self.queue.call(work).await
    }

    async fn find(
        &self,
        hub: HubName,
        names: Vec<IdentityName>,
    ) -> Result<Vec<Option<Device>>, StoreError> {
        let mut reader = self.reader().await?;
        find(&mut reader, &hub, names).await
    }

    async fn list(&self, hub: HubName, limit: u32) -> Result<Vec<Device>, StoreError> {
        let mut reader = self.reader().await?;
        let rows = sqlx::query(include_str!("../queries/list_devices.sql"))
            .bind(hub.as_str())
            .bind(i64::from(limit))
            .fetch_all(&mut *reader)
            .await
            .map_err(store_error)?;
        rows.iter().map(device).collect()
    }

    async fn list_modules(
        &self,
        hub: HubName,
        devices: Vec<DeviceId>,
    ) -> Result<Vec<Device>, StoreError> {
        let mut reader = self.reader().await?;
        let mut found = write::find_under(&mut reader, &hub, devices).await?;
        found.retain(|device| device.name.module.is_some());
        found.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(found)
    }

    async fn counts(&self, hub: HubName) -> Result<RegistryCounts, StoreError> {
        let mut reader = self.reader().await?;
        let row = sqlx::query(include_str!("../queries/count_devices.sql"))
            .bind(hub.as_str())
            .fetch_one(&mut *reader)
            .await
            .map_err(store_error)?;
        let row = Fields::new(&row, "identities", "total");
        Ok(RegistryCounts {
            total: row.number("total")?,
            enabled: row.number("enabled")?,
            modules: row.number("modules")?,
        })
    }
}

/// Finds identities by name, by position.
async fn find(
    connection: &mut SqliteConnection,
    hub: &HubName,
    names: Vec<IdentityName>,
) -> Result<Vec<Option<Device>>, StoreError> {
    let mut devices: Vec<Option<Device>> = vec![None; names.len()];
    let wanted: Vec<_> = (0_i64..).zip(names).collect();
    let rows = FIND_IDENTITIES
        .fetch(connection, None, wanted, |query, (position, name)| {
            query
                .bind(position)
                .bind(hub.as_str())
                .bind(name.device.as_str())
                .bind(module_text(&name))
        })
        .await
        .map_err(store_error)?;
    for row in &rows {
        let position: usize = Fields::new(row, "identities", "device_key").number("position")?;
        devices[position] = Some(device(row)?);
    }
    Ok(devices)
}

/// The module as it is stored.
fn module_text(name: &IdentityName) -> String {
    name.module
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// Reads a row of `identities`.
pub(crate) fn device(row: &SqliteRow) -> Result<Device, StoreError> {
    let row = Fields::new(row, "identities", "device_key");
    let module = row.parse("module_id", |text: &str| match text {
        "" => Some(None),
        text => text.parse().ok().map(Some),
    })?;
    Ok(Device {
        key: DeviceKey(row.get("device_key")?),
        hub: row.text("hub")?,
        name: IdentityName {
            device: row.text("device_id")?,
            module,
        },
        generation: GenerationId(row.number("generation")?),
        etag: row.number("etag")?,
        status: row.parse("status", DeviceStatus::parse)?,
        status_reason: row.get("status_reason")?,
        status_updated_at: row.instant("status_updated_at")?,
        authentication: authentication(&row)?,
        is_edge: row.get("is_edge")?,
        connection_state_updated_at: row.instant("connection_state_updated_at")?,
        last_activity_at: row.instant("last_activity_at")?,
        is_connected: row.get("is_connected")?,
        model_id: row.get("model_id")?,
        managed_by: row.get("managed_by")?,
        device_scope: row.get("device_scope")?,
        parent_scopes: row.json("parent_scopes")?,
    })
}

/// How the kinds of authentication are stored.
const SAS: &str = "sas";
const SELF_SIGNED: &str = "selfSigned";
const CERTIFICATE_AUTHORITY: &str = "certificateAuthority";
const NONE: &str = "none";

fn authentication(row: &Fields<'_>) -> Result<Authentication, StoreError> {
    match row.get("authentication")? {
        SAS => Ok(Authentication::Sas(SymmetricKeys {
            primary: row.get("primary_key")?,
            secondary: row.get("secondary_key")?,
        })),
        SELF_SIGNED => Ok(Authentication::SelfSigned {
            primary: row.get("primary_thumbprint")?,
            secondary: row.get("secondary_thumbprint")?,
        }),
        CERTIFICATE_AUTHORITY => Ok(Authentication::CertificateAuthority),
        NONE => Ok(Authentication::None),
        _ => Err(row.corrupt("authentication")),
    }
}
