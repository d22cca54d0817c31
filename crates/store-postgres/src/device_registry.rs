//! Identities.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::{Authentication, Device, DeviceStatus, SymmetricKeys};
use downlink_domain::id::{DeviceId, DeviceKey, GenerationId, HubName, IdentityName};
use downlink_ports::{
    DeviceRegistry, RegistryChange, RegistryCounts, RegistryError, RegistryRules, RegistryWrite,
    RegistryWritten, StoreError,
};
use sqlx::postgres::PgRow;

use self::read::{Count, Find, List, ListModules};
use self::write::WriteIdentities;
use crate::fields::Fields;
use crate::store::PostgresStore;

mod columns;
mod read;
mod write;

#[async_trait]
impl DeviceRegistry for PostgresStore {
    async fn write(
        &self,
        hub: HubName,
        writes: Vec<RegistryWrite>,
        rules: RegistryRules,
        by: Actor,
        now: Timestamp,
    ) -> Result<Vec<Result<RegistryWritten, RegistryError>>, StoreError> {
        // Postgres knows no text with a NUL: what has one is refused alone, the rest is written.
        let faults: Vec<_> = writes.iter().map(nul_fault).collect();
        let writes = writes.into_iter().zip(&faults);
        let writes = writes
            .filter(|(_, fault)| fault.is_none())
            .map(|(write, _)| write)
            .collect();
        let work = WriteIdentities {
            hub,
            writes,
            rules,
            by,
            now,
        };
        let mut answers = self.run(&work).await?.into_iter();
        let answers = faults.into_iter().map(|fault| match fault {
            Some(fault) => Err(fault),
            None => answers.next().expect("an answer for each write"),
        });
        Ok(answers.collect())
    }

    async fn find(
        &self,
        hub: HubName,
        names: Vec<IdentityName>,
    ) -> Result<Vec<Option<Device>>, StoreError> {
        self.run(&Find { hub, names }).await
    }

    async fn list(&self, hub: HubName, limit: u32) -> Result<Vec<Device>, StoreError> {
        self.run(&List { hub, limit }).await
    }

    async fn list_modules(
        &self,
        hub: HubName,
        devices: Vec<DeviceId>,
    ) -> Result<Vec<Device>, StoreError> {
        self.run(&ListModules { hub, devices }).await
    }

    async fn counts(&self, hub: HubName) -> Result<RegistryCounts, StoreError> {
        self.run(&Count { hub }).await
    }
}

/// The refusal of a write with a text that this store cannot hold.
fn nul_fault(write: &RegistryWrite) -> Option<RegistryError> {
    let (RegistryChange::Create { spec, .. } | RegistryChange::Replace { spec, .. }) =
        &write.change
    else {
        return None;
    };
    let mut texts = [&spec.status_reason, &spec.managed_by]
        .into_iter()
        .flatten();
    texts.any(|text| text.contains('\0')).then(|| {
        let fault = "the status reason or managedBy holds the character U+0000";
        RegistryError::Invalid(fault.to_owned())
    })
}

/// The module as it is stored.
fn module_text(name: &IdentityName) -> &str {
    name.module.as_ref().map_or("", |module| module.as_str())
}

/// Reads a row of `identities`.
pub(crate) fn device(row: &PgRow) -> Result<Device, StoreError> {
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
