//! Identities as arrays of columns, for statements over many.

use std::collections::HashSet;

use downlink_domain::device::{Authentication, Device};
use downlink_domain::id::{DeviceKey, HubName};
use serde_json::json;

use super::{CERTIFICATE_AUTHORITY, NONE, SAS, SELF_SIGNED, module_text};
use crate::fields::stored;
use crate::session::Session;

/// Inserts identities unless their names are taken; the keys of those that are inserted.
pub(super) async fn insert_identities(
    connection: &mut Session<'_>,
    hub: &HubName,
    devices: &[&Device],
) -> sqlx::Result<HashSet<DeviceKey>> {
    if devices.is_empty() {
        return Ok(HashSet::new());
    }
    let columns = Columns::of(devices);
    let inserted: Vec<i64> =
        sqlx::query_scalar(include_str!("../../queries/insert_identities.sql"))
            .bind(hub.as_str())
            .bind(each(devices, |device| device.key.0))
            .bind(each(devices, |device| device.name.device.as_str()))
            .bind(each(devices, |device| module_text(&device.name)))
            .bind(each(devices, |device| stored(device.generation.0)))
            .bind(columns.etags)
            .bind(columns.statuses)
            .bind(columns.reasons)
            .bind(columns.status_times)
            .bind(columns.kinds)
            .bind(columns.primary_keys)
            .bind(columns.secondary_keys)
            .bind(columns.primary_prints)
            .bind(columns.secondary_prints)
            .bind(columns.edges)
            .bind(each(devices, |device| {
                device.connection_state_updated_at.as_millis()
            }))
            .bind(each(devices, |device| device.last_activity_at.as_millis()))
            .bind(columns.owners)
            .bind(columns.scopes)
            .bind(columns.parents)
            .fetch_all(connection)
            .await?;
    Ok(inserted.into_iter().map(DeviceKey).collect())
}

/// Writes what a `DeviceSpec` says, and what follows from the write.
pub(super) async fn update_identities(
    connection: &mut Session<'_>,
    devices: &[Device],
) -> sqlx::Result<()> {
    if devices.is_empty() {
        return Ok(());
    }
    let devices: Vec<&Device> = devices.iter().collect();
    let columns = Columns::of(&devices);
    sqlx::query(include_str!("../../queries/update_identities.sql"))
        .bind(each(&devices, |device| device.key.0))
        .bind(columns.etags)
        .bind(columns.statuses)
        .bind(columns.reasons)
        .bind(columns.status_times)
        .bind(columns.kinds)
        .bind(columns.primary_keys)
        .bind(columns.secondary_keys)
        .bind(columns.primary_prints)
        .bind(columns.secondary_prints)
        .bind(columns.edges)
        .bind(columns.owners)
        .bind(columns.scopes)
        .bind(columns.parents)
        .execute(connection)
        .await?;
    Ok(())
}

/// What a writer may say, one array for each column.
struct Columns<'a> {
    etags: Vec<i64>,
    statuses: Vec<&'a str>,
    reasons: Vec<Option<&'a str>>,
    status_times: Vec<i64>,
    kinds: Vec<&'a str>,
    primary_keys: Vec<Option<&'a [u8]>>,
    secondary_keys: Vec<Option<&'a [u8]>>,
    primary_prints: Vec<Option<&'a str>>,
    secondary_prints: Vec<Option<&'a str>>,
    edges: Vec<bool>,
    owners: Vec<Option<&'a str>>,
    scopes: Vec<Option<&'a str>>,
    parents: Vec<String>,
}

impl<'a> Columns<'a> {
    fn of(devices: &[&'a Device]) -> Self {
        let proofs: Vec<_> = devices
            .iter()
            .map(|device| Proof::of(&device.authentication))
            .collect();
        Self {
            etags: each(devices, |device| stored(device.etag)),
            statuses: each(devices, |device| device.status.as_str()),
            reasons: each(devices, |device| device.status_reason.as_deref()),
            status_times: each(devices, |device| device.status_updated_at.as_millis()),
            kinds: proofs.iter().map(|proof| proof.kind).collect(),
            primary_keys: proofs.iter().map(|proof| proof.keys[0]).collect(),
            secondary_keys: proofs.iter().map(|proof| proof.keys[1]).collect(),
            primary_prints: proofs.iter().map(|proof| proof.thumbprints[0]).collect(),
            secondary_prints: proofs.iter().map(|proof| proof.thumbprints[1]).collect(),
            edges: each(devices, |device| device.is_edge),
            owners: each(devices, |device| device.managed_by.as_deref()),
            scopes: each(devices, |device| device.device_scope.as_deref()),
            parents: each(devices, |device| json!(device.parent_scopes).to_string()),
        }
    }
}

fn each<'a, T>(devices: &[&'a Device], column: impl Fn(&'a Device) -> T) -> Vec<T> {
    devices.iter().map(|device| column(device)).collect()
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
