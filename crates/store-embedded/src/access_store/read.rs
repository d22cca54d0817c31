//! Reading policies and authorities.

use downlink_domain::authority::{CertificateAuthority, Possession};
use downlink_domain::id::HubName;
use downlink_domain::policy::{Permissions, Policy, PolicyScope};
use downlink_ports::StoreError;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteRow;

use crate::error::store_error;
use crate::fields::Fields;

/// The version of a hub's snapshot; `None` when there is no such hub.
pub(crate) async fn version(
    connection: &mut SqliteConnection,
    hub: &HubName,
) -> Result<Option<u64>, StoreError> {
    let row = sqlx::query(include_str!("../../queries/find_access_version.sql"))
        .bind(hub.as_str())
        .fetch_optional(connection)
        .await
        .map_err(store_error)?;
    let version = |row| Fields::new(row, "hubs", "access_version").number("access_version");
    row.as_ref().map(version).transpose()
}

/// The policies of a hub, in order of creation.
pub(super) async fn policies(
    connection: &mut SqliteConnection,
    hub: &HubName,
) -> Result<Vec<Policy>, StoreError> {
    let rows = sqlx::query(include_str!("../../queries/list_policies.sql"))
        .bind(hub.as_str())
        .fetch_all(connection)
        .await
        .map_err(store_error)?;
    rows.iter().map(policy).collect()
}

/// The authorities of a hub, in order of creation.
pub(super) async fn authorities(
    connection: &mut SqliteConnection,
    hub: &HubName,
) -> Result<Vec<CertificateAuthority>, StoreError> {
    let rows = sqlx::query(include_str!("../../queries/list_authorities.sql"))
        .bind(hub.as_str())
        .fetch_all(connection)
        .await
        .map_err(store_error)?;
    rows.iter().map(authority).collect()
}

fn policy(row: &SqliteRow) -> Result<Policy, StoreError> {
    let row = Fields::new(row, "policies", "position");
    Ok(Policy {
        name: row.get("name")?,
        keys: [row.get("primary_key")?, row.get("secondary_key")?],
        permissions: Permissions::from_bits(row.number("permissions")?),
        scope: row.parse("scope", |text: Option<&str>| match text {
            None => Some(None),
            Some(text) => scope(text).map(Some),
        })?,
        etag: row.number("etag")?,
    })
}

/// Reads a scope; one that is not understood must not be taken for none.
fn scope(text: &str) -> Option<PolicyScope> {
    let value = serde_json::from_str(text).ok()?;
    PolicyScope::parse(&value).ok()
}

fn authority(row: &SqliteRow) -> Result<CertificateAuthority, StoreError> {
    let row = Fields::new(row, "certificate_authorities", "position");
    let code: Option<String> = row.get("verification_code")?;
    let possession = match (row.get("is_verified")?, code) {
        (true, _) => Possession::Verified,
        (false, Some(code)) => Possession::Challenged { code },
        (false, None) => Possession::Unverified,
    };
    Ok(CertificateAuthority {
        name: row.get("name")?,
        certificate: row.bytes("certificate")?,
        subject: row.get("subject")?,
        thumbprint: row.get("thumbprint")?,
        not_before: row.instant("not_before")?,
        not_after: row.instant("not_after")?,
        possession,
        etag: row.number("etag")?,
        created_at: row.instant("created_at")?,
        updated_at: row.instant("updated_at")?,
    })
}
