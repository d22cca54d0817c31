//! Rows of the statements as those that filters are about.

use downlink_domain::Timestamp;
use downlink_domain::device::DeviceStatus;
use downlink_domain::query::{Field, Filter, Section, Source};
use downlink_domain::twin::{self, Twin};
use downlink_ports::{Needs, Scan, ScanRow, StoreError, Tally};
use sqlx::sqlite::SqliteRow;

use crate::device_registry::device;
use crate::fields::Fields;
use crate::rows::Bound;

/// The documents that somebody looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each names one document, any mixture of them is meant"
)]
pub(super) struct Parts {
    tags: bool,
    desired: bool,
    reported: bool,
    configurations: bool,
}

impl Parts {
    fn of_filter(filter: &Filter) -> Self {
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

    fn of_field(field: &Field) -> Self {
        let mut parts = Self::default();
        if let Field::Member(member) = field {
            match member.section {
                Section::Tags => parts.tags = true,
                Section::Desired => parts.desired = true,
                Section::Reported => parts.reported = true,
                Section::Configurations => parts.configurations = true,
            }
        }
        parts
    }

    fn and(self, other: Self) -> Self {
        Self {
            tags: self.tags || other.tags,
            desired: self.desired || other.desired,
            reported: self.reported || other.reported,
            configurations: self.configurations || other.configurations,
        }
    }
}

/// What is read of each row.
pub(super) struct Reading {
    hub: String,
    source: Source,
    parts: Parts,
    needs: Needs,
    now: Timestamp,
}

impl Reading {
    pub(super) fn of_scan(scan: &Scan) -> Self {
        let needs = Parts {
            tags: scan.needs.tags,
            desired: scan.needs.desired,
            reported: scan.needs.reported,
            configurations: scan.needs.configurations,
        };
        Self {
            hub: scan.hub.to_string(),
            source: scan.source,
            parts: Parts::of_filter(&scan.filter).and(needs),
            needs: scan.needs,
            now: scan.now,
        }
    }

    pub(super) fn of_tally(tally: &Tally) -> Self {
        let fields = tally.group_by.iter().map(Parts::of_field);
        Self {
            hub: tally.hub.to_string(),
            source: tally.source,
            parts: fields.fold(Parts::of_filter(&tally.filter), Parts::and),
            needs: Needs::default(),
            now: Timestamp::UNSET,
        }
    }

    /// The statement for up to `most` rows after a key, of named devices or of all.
    pub(super) fn query(&self, names: Option<&str>, after: i64, most: u32) -> Bound {
        let statement = match (self.source, names) {
            (Source::Devices, None) => include_str!("../../queries/walk_devices.sql"),
            (Source::Modules, None) => include_str!("../../queries/walk_modules.sql"),
            (Source::Devices, Some(_)) => include_str!("../../queries/find_devices_to_query.sql"),
            (Source::Modules, Some(_)) => include_str!("../../queries/find_modules_to_query.sql"),
        };
        let now = self.needs.waiting.then(|| self.now.as_millis());
        let query = sqlx::query(statement)
            .bind(self.hub.clone())
            .bind(after)
            .bind(i64::from(most))
            .bind(self.parts.tags)
            .bind(self.parts.desired)
            .bind(self.parts.reported)
            .bind(self.parts.configurations)
            .bind(self.needs.desired)
            .bind(self.needs.reported)
            .bind(now);
        match names {
            Some(names) => query.bind(names.to_owned()),
            None => query,
        }
    }

    /// Reads a row; what the statement left out is empty.
    pub(super) fn read(&self, row: &SqliteRow) -> Result<ScanRow, StoreError> {
        let mut device = device(row)?;
        if self.source == Source::Modules {
            let row = Fields::new(row, "identities", "device_key");
            device.status = row.parse("device_status", DeviceStatus::parse)?;
            device.status_reason = row.get("device_status_reason")?;
            device.status_updated_at = row.instant("device_status_updated_at")?;
        }
        let row = Fields::new(row, "twins", "device_key");
        let waiting = match (self.needs.waiting, self.source) {
            (false, _) => None,
            (true, Source::Modules) => Some(0),
            (true, Source::Devices) => Some(row.number("waiting")?),
        };
        Ok(ScanRow {
            device,
            twin: Twin {
                tags: row.json("tags")?,
                desired: twin::Section {
                    values: row.json("desired")?,
                    metadata: row.json("desired_metadata")?,
                    version: row.number("desired_version")?,
                },
                reported: twin::Section {
                    values: row.json("reported")?,
                    metadata: row.json("reported_metadata")?,
                    version: row.number("reported_version")?,
                },
                etag: row.number("twin_etag")?,
                version: row.number("version")?,
            },
            configurations: row.json("configurations")?,
            waiting,
        })
    }
}
