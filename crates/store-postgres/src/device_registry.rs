//! Identities.

use async_trait::async_trait;
use downlink_domain::Timestamp;
use downlink_domain::access::Actor;
use downlink_domain::device::{
    Authentication, Device, DeviceSpec, DeviceStatus, IfMatch, SymmetricKeys,
};
use downlink_domain::id::{DeviceKey, GenerationId, HubName, IdentityName};
use downlink_ports::{ConnectionChange, DeviceRegistry, RegistryCounts, RegistryError, StoreError};
use sqlx::postgres::PgRow;

use self::connections::RecordConnections;
use self::create::Create;
use self::delete::Delete;
use self::read::{Count, Find, List};
use self::replace::Replace;
use crate::fields::Fields;
use crate::store::PostgresStore;

mod connections;
mod create;
mod delete;
mod read;
mod replace;

#[async_trait]
impl DeviceRegistry for PostgresStore {
    async fn create(
        &self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Device, RegistryError>, StoreError> {
        if let Err(error) = check(&spec) {
            return Ok(Err(error));
        }
        let work = Create {
            hub,
            name,
            spec,
            by,
            now,
        };
        self.run(&work).await
    }

    async fn replace(
        &self,
        hub: HubName,
        name: IdentityName,
        spec: DeviceSpec,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Device, RegistryError>, StoreError> {
        if let Err(error) = check(&spec) {
            return Ok(Err(error));
        }
        let work = Replace {
            hub,
            name,
            spec,
            if_match,
            by,
            now,
        };
        self.run(&work).await
    }

    async fn delete(
        &self,
        hub: HubName,
        name: IdentityName,
        if_match: IfMatch,
        by: Actor,
        now: Timestamp,
    ) -> Result<Result<Device, RegistryError>, StoreError> {
        let work = Delete {
            hub,
            name,
            if_match,
            by,
            now,
        };
        self.run(&work).await
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

    async fn counts(&self, hub: HubName) -> Result<RegistryCounts, StoreError> {
        self.run(&Count { hub }).await
    }

    async fn record_connections(&self, changes: Vec<ConnectionChange>) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.run(&RecordConnections::of(&changes)).await
    }
}

/// The rules of a spec, and one of this store: Postgres knows no text with a NUL.
fn check(spec: &DeviceSpec) -> Result<(), RegistryError> {
    spec.check()
        .map_err(|error| RegistryError::Invalid(error.to_string()))?;
    if spec
        .status_reason
        .as_deref()
        .is_some_and(|reason| reason.contains('\0'))
    {
        let fault = "the status reason holds the character U+0000";
        return Err(RegistryError::Invalid(fault.to_owned()));
    }
    Ok(())
}

/// The identity that was found, if the condition of the write holds for it.
fn checked(
    found: Option<Device>,
    name: &IdentityName,
    if_match: &IfMatch,
) -> Result<Device, RegistryError> {
    match found {
        None => Err(RegistryError::NotFound(name.clone())),
        Some(found) if if_match.names(&found.etag_text()) => Ok(found),
        Some(_) => Err(RegistryError::PreconditionFailed(name.clone())),
    }
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

/// An [`Authentication`] as its columns.
#[derive(Default)]
struct Proof<'a> {
    kind: &'static str,
    keys: [Option<&'a [u8]>; 2],
    thumbprints: [Option<&'a str>; 2],
}

impl<'a> Proof<'a> {
    fn of(authentication: &'a Authentication) -> Self {
        match authentication {
            Authentication::Sas(keys) => Self {
                kind: SAS,
                keys: [Some(&keys.primary), Some(&keys.secondary)],
                ..Self::default()
            },
            Authentication::SelfSigned { primary, secondary } => Self {
                kind: SELF_SIGNED,
                thumbprints: [primary.as_deref(), secondary.as_deref()],
                ..Self::default()
            },
            Authentication::CertificateAuthority => Self {
                kind: CERTIFICATE_AUTHORITY,
                ..Self::default()
            },
            Authentication::None => Self {
                kind: NONE,
                ..Self::default()
            },
        }
    }
}
