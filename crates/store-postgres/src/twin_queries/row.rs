//! Rows of a statement as those that filters are about.

use downlink_domain::Timestamp;
use downlink_domain::device::{Authentication, Device, DeviceStatus};
use downlink_domain::id::{DeviceKey, GenerationId, HubName};
use downlink_domain::query::{Field, Filter, Section, Source};
use downlink_domain::twin::{Object, Twin};
use downlink_ports::{Needs, ScanRow, StoreError};
use sqlx::postgres::PgRow;

use super::text::Piece;
use crate::device_registry::device;
use crate::fields::Fields;

/// Which parts of a row somebody looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each names one part of a row, any mixture of them is meant"
)]
pub(super) struct Parts {
    /// What is not in a document, and not about versions.
    pub(super) identity: bool,
    /// Versions of the twin.
    pub(super) versions: bool,
    pub(super) tags: bool,
    pub(super) desired: bool,
    pub(super) reported: bool,
    pub(super) configurations: bool,
}

impl Parts {
    /// What a filter looks at.
    pub(super) fn of_filter(filter: &Filter) -> Self {
        match filter {
            Filter::All | Filter::Nothing => Self::default(),
            Filter::And(parts) | Filter::Or(parts) => parts
                .iter()
                .map(Self::of_filter)
                .fold(Self::default(), Self::and),
            Filter::Compare { field, .. }
            | Filter::In { field, .. }
            | Filter::NotIn { field, .. }
            | Filter::Is { field, .. } => Self::of_field(field),
        }
    }

    /// What one field is in.
    pub(super) fn of_field(field: &Field) -> Self {
        let mut parts = Self::default();
        let part = match field {
            Field::Member(member) => match member.section {
                Section::Tags => &mut parts.tags,
                Section::Desired => &mut parts.desired,
                Section::Reported => &mut parts.reported,
                Section::Configurations => &mut parts.configurations,
            },
            Field::Version | Field::DesiredVersion | Field::ReportedVersion => &mut parts.versions,
            _ => &mut parts.identity,
        };
        *part = true;
        parts
    }

    /// What either looks at.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            identity: self.identity || other.identity,
            versions: self.versions || other.versions,
            tags: self.tags || other.tags,
            desired: self.desired || other.desired,
            reported: self.reported || other.reported,
            configurations: self.configurations || other.configurations,
        }
    }

    /// Whether any of it is in the twin.
    pub(super) fn is_of_twin(self) -> bool {
        let documents = self.tags || self.desired || self.reported || self.configurations;
        self.versions || documents
    }

    /// The columns of the documents.
    pub(super) fn columns(self) -> Piece {
        let columns = [
            (self.tags, ", t.tags"),
            (self.desired, ", t.desired"),
            (self.reported, ", t.reported"),
            (self.configurations, ", t.configurations"),
        ];
        let columns = columns.into_iter().filter(|(is_read, _)| *is_read);
        columns.fold(Piece::default(), |piece, (_, column)| piece.then(column))
    }
}

/// The columns of the identity.
pub(super) fn identity_columns(source: Source) -> Piece {
    Piece::of("i.*").then(match source {
        Source::Devices => "",
        Source::Modules => {
            ", p.status AS device_status, p.status_reason AS device_status_reason, \
             p.status_updated_at AS device_status_updated_at"
        }
    })
}

/// The columns of the twin that are no documents.
pub(super) const VERSIONS: &str =
    ", t.etag AS twin_etag, t.version, t.desired_version, t.reported_version";

/// The columns of metadata that the caller reads.
pub(super) fn metadata_columns(needs: Needs) -> Piece {
    let columns = [
        (needs.desired, ", t.desired_metadata"),
        (needs.reported, ", t.reported_metadata"),
    ];
    let columns = columns.into_iter().filter(|(is_read, _)| *is_read);
    columns.fold(Piece::default(), |piece, (_, column)| piece.then(column))
}

/// Reads the identity, its status that of its device.
pub(super) fn identity(row: &PgRow, source: Source) -> Result<Device, StoreError> {
    let mut device = device(row)?;
    if source == Source::Modules {
        let row = Fields::new(row, "identities", "device_key");
        device.status = row.parse("device_status", DeviceStatus::parse)?;
        device.status_reason = row.get("device_status_reason")?;
        device.status_updated_at = row.instant("device_status_updated_at")?;
    }
    Ok(device)
}

/// Brings the documents that `parts` names into `row`.
pub(super) fn documents(into: &mut ScanRow, row: &PgRow, parts: Parts) -> Result<(), StoreError> {
    let row = Fields::new(row, "twins", "device_key");
    if parts.tags {
        into.twin.tags = row.json("tags")?;
    }
    if parts.desired {
        into.twin.desired.values = row.json("desired")?;
    }
    if parts.reported {
        into.twin.reported.values = row.json("reported")?;
    }
    if parts.configurations {
        into.configurations = row.json("configurations")?;
    }
    Ok(())
}

/// Brings what the twin has besides documents into `row`.
pub(super) fn versions(into: &mut ScanRow, row: &PgRow) -> Result<(), StoreError> {
    let row = Fields::new(row, "twins", "device_key");
    into.twin.etag = row.number("twin_etag")?;
    into.twin.version = row.number("version")?;
    into.twin.desired.version = row.number("desired_version")?;
    into.twin.reported.version = row.number("reported_version")?;
    Ok(())
}

/// A row of nobody, for parts of others to be brought into.
pub(super) fn blank(hub: &HubName) -> ScanRow {
    let at = Timestamp::UNSET;
    let mut twin = Twin::new(at);
    twin.desired.metadata = Object::new();
    twin.reported.metadata = Object::new();
    ScanRow {
        device: Device {
            key: DeviceKey(0),
            hub: hub.clone(),
            name: NOBODY
                .parse::<downlink_domain::id::DeviceId>()
                .expect("a valid id")
                .into(),
            generation: GenerationId(0),
            etag: 0,
            status: DeviceStatus::Enabled,
            status_reason: None,
            status_updated_at: at,
            authentication: Authentication::None,
            is_edge: false,
            connection_state_updated_at: at,
            last_activity_at: at,
            is_connected: false,
            model_id: String::new(),
            managed_by: None,
            device_scope: None,
            parent_scopes: Vec::new(),
        },
        twin,
        configurations: Object::new(),
        waiting: None,
    }
}

const NOBODY: &str = "nobody";
