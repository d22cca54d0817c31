//! Reading policies and authorities.

use async_trait::async_trait;
use downlink_domain::authority::{CertificateAuthority, Possession};
use downlink_domain::id::HubName;
use downlink_domain::policy::{Permissions, Policy, PolicyScope};
use downlink_ports::{AccessSnapshot, StoreError};
use sqlx::postgres::PgRow;

use crate::error::Failure;
use crate::fields::Fields;
use crate::retry::{Extent, Repeat, Work};
use crate::session::Session;

pub(super) struct ReadAccess {
    pub(super) hub: HubName,
    pub(super) known: Option<u64>,
}

#[async_trait]
impl Work for ReadAccess {
    type Answer = Option<AccessSnapshot>;
    const EXTENT: Extent = Extent::Statement;
    const REPEAT: Repeat = Repeat::Harmless;

    /// The version is read first: a write that comes in between is in what is read, under the
    /// version before it, and is read once more when its own version is seen.
    async fn run(&self, connection: &mut Session<'_>) -> Result<Self::Answer, Failure> {
        let row = sqlx::query(include_str!("../../queries/find_access_version.sql"))
            .bind(self.hub.as_str())
            .fetch_optional(&mut *connection)
            .await?;
        let version = row.as_ref().map(version).transpose()?.unwrap_or(0);
        if self.known == Some(version) {
            return Ok(None);
        }
        Ok(Some(AccessSnapshot {
            version,
            policies: policies(connection, &self.hub).await?,
            authorities: authorities(connection, &self.hub).await?,
        }))
    }
}

/// Reads a version of `hubs`.
pub(super) fn version(row: &PgRow) -> Result<u64, StoreError> {
    Fields::new(row, "hubs", "access_version").number("access_version")
}

/// The policies of a hub, in order of creation.
pub(super) async fn policies(
    connection: &mut Session<'_>,
    hub: &HubName,
) -> Result<Vec<Policy>, Failure> {
    let rows = sqlx::query(include_str!("../../queries/list_policies.sql"))
        .bind(hub.as_str())
        .fetch_all(connection)
        .await?;
    let policies = rows.iter().map(policy).collect::<Result<_, _>>();
    Ok(policies?)
}

/// The authorities of a hub, in order of creation.
pub(super) async fn authorities(
    connection: &mut Session<'_>,
    hub: &HubName,
) -> Result<Vec<CertificateAuthority>, Failure> {
    let rows = sqlx::query(include_str!("../../queries/list_authorities.sql"))
        .bind(hub.as_str())
        .fetch_all(connection)
        .await?;
    let authorities = rows.iter().map(authority).collect::<Result<_, _>>();
    Ok(authorities?)
}

fn policy(row: &PgRow) -> Result<Policy, StoreError> {
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

fn authority(row: &PgRow) -> Result<CertificateAuthority, StoreError> {
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
