//! Twins: tags, desired and reported properties of an identity (twins.md).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use thiserror::Error;

use crate::caps;
use crate::code::ErrorCode;
use crate::device::IfMatch;
use crate::time::Timestamp;

mod digital;
mod metadata;
mod parse;
mod patch;
#[cfg(test)]
mod tests;
mod validate;

pub use digital::DigitalChange;
pub use parse::{JsonError, parse_json};
pub use patch::apply;

/// A JSON object.
pub type Object = Map<String, Value>;

/// One versioned half of a twin.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    /// The properties, without `$` members.
    pub values: Object,
    /// Mirrors `values`: `$lastUpdated` and, in desired, `$lastUpdatedVersion` (twins.md §3.1).
    pub metadata: Object,
    /// Rises by one with every write, never restarts.
    pub version: u64,
}

/// The three parts of a twin and their versions (twins.md §3).
#[derive(Clone, Debug, PartialEq)]
pub struct Twin {
    /// Properties for the back-end alone.
    pub tags: Object,
    /// What the back-end wants.
    pub desired: Section,
    /// What the device says.
    pub reported: Section,
    /// Rises with every write of the service, the number inside the etag.
    pub etag: u64,
    /// Rises with every write of anybody.
    pub version: u64,
}

/// A write to a twin.
#[derive(Clone, Debug, PartialEq)]
pub enum TwinChange {
    /// Merges into tags and desired (twins.md §4.2).
    Patch {
        /// Members to merge into tags.
        tags: Option<Object>,
        /// Members to merge into desired.
        desired: Option<Object>,
        /// Condition on the twin's etag.
        if_match: IfMatch,
    },
    /// Takes the place of tags and desired (twins.md §4.3).
    Replace {
        /// The new tags.
        tags: Object,
        /// The new desired section.
        desired: Object,
        /// Condition on the twin's etag.
        if_match: IfMatch,
    },
    /// Merges into reported; the device's own write (twins.md §5).
    Report {
        /// Members to merge.
        patch: Object,
        /// The reported version that the device has seen, if it names one.
        expected_version: Option<u64>,
    },
}

/// What the device is told after a write of desired.
#[derive(Clone, Debug, PartialEq)]
pub struct DesiredNotification {
    /// The patch as the service sent it, or the whole section after a replacement, with
    /// `$version`.
    pub body: Object,
    /// Version of desired after the write.
    pub version: u64,
}

/// A written twin and what follows from the write.
#[derive(Clone, Debug, PartialEq)]
pub struct TwinWritten {
    /// The twin after the write.
    pub twin: Twin,
    /// What the device is told; `None` when desired was not touched.
    pub notification: Option<DesiredNotification>,
    /// Body of the change event (errors-limits.md §6.2); `None` when nothing changed, which is
    /// also when nothing needs to be stored.
    pub event: Option<Object>,
}

/// Limits of a hub's twins (twins.md §4.5); sizes in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TwinRules {
    /// Of tags.
    pub max_tags_bytes: usize,
    /// Of desired.
    pub max_desired_bytes: usize,
    /// Of reported.
    pub max_reported_bytes: usize,
    /// What a replacement tells the device.
    pub replaced_keys: ReplacedKeys,
    /// How many changes of desired are kept for a device that comes back; 0 keeps none.
    pub kept_changes: u32,
}

/// What the notification of a full replacement says of keys that are gone (mqtt.md §11.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReplacedKeys {
    /// Nothing: the whole new section, as documented.
    #[default]
    Omitted,
    /// `null` for each, so that merging clients see them go.
    Nulls,
}

/// Why a write was refused; nothing of it was applied.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TwinError {
    /// A key, value, depth or size outside the rules.
    #[error("{0}")]
    Invalid(String),
    /// The etag or version is not the current one.
    #[error("etag mismatch")]
    PreconditionFailed,
}

impl DesiredNotification {
    /// The body as it goes to the device.
    pub fn text(&self) -> String {
        Value::Object(self.body.clone()).to_string()
    }

    /// What is to be kept of the change, if anything: a large one costs as much as the section that
    /// stands in for it, so it is not kept.
    pub fn kept_text(&self, rules: TwinRules) -> Option<String> {
        let is_kept = rules.kept_changes > 0;
        let text = is_kept.then(|| self.text());
        text.filter(|text| text.len() <= caps::MAX_KEPT_CHANGE_BYTES)
    }
}

impl TwinError {
    /// The code of the catalogue.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) => ErrorCode::ArgumentInvalid,
            Self::PreconditionFailed => ErrorCode::PreconditionFailed,
        }
    }
}

impl TwinChange {
    /// What the change event calls the write (errors-limits.md §6.1).
    pub fn op_type(&self) -> &'static str {
        match self {
            Self::Patch { .. } | Self::Report { .. } => "updateTwin",
            Self::Replace { .. } => "replaceTwin",
        }
    }

    /// What the change brings along, in bytes as twins.md §4.5 counts them.
    pub fn counted_bytes(&self) -> usize {
        let parts = match self {
            Self::Patch { tags, desired, .. } => [tags.as_ref(), desired.as_ref()],
            Self::Replace { tags, desired, .. } => [Some(tags), Some(desired)],
            Self::Report { patch, .. } => [Some(patch), None],
        };
        parts
            .into_iter()
            .flatten()
            .map(validate::counted_object_bytes)
            .sum()
    }
}

impl Section {
    /// The values followed by `$version`, as a device sees the section (twins.md §2.1).
    pub fn device_view(&self) -> Object {
        let mut view = self.values.clone();
        view.insert(VERSION.to_owned(), Value::from(self.version));
        view
    }

    /// The values followed by `$metadata` and `$version`, as the service sees the section
    /// (twins.md §2).
    pub fn service_view(&self) -> Object {
        patch::section_body(&self.values, &self.metadata, self.version)
    }
}

impl Twin {
    /// The twin of an identity created at `now` (twins.md §3).
    pub fn new(now: Timestamp) -> Self {
        let section = Section {
            values: Object::new(),
            metadata: metadata::of_new_section(now),
            version: 1,
        };
        Self {
            tags: Object::new(),
            desired: section.clone(),
            reported: section,
            etag: 1,
            version: 2,
        }
    }

    /// The etag on the wire: base64 of the counter's eight bytes, the highest first
    /// (twins.md §3).
    pub fn etag_text(&self) -> String {
        STANDARD.encode(self.etag.to_be_bytes())
    }

    /// Tells whether the version is the sum of the etag's number and the reported version, which
    /// holds for every twin that [`apply`] has written (twins.md §3).
    pub fn keeps_the_sum_rule(&self) -> bool {
        self.etag.checked_add(self.reported.version) == Some(self.version)
    }

    /// `desired` and `reported` as the device reads them: no tags, no metadata, no etag
    /// (twins.md §2.1).
    pub fn device_view(&self) -> Object {
        let mut view = Object::new();
        view.insert("desired".to_owned(), self.desired.device_view().into());
        view.insert("reported".to_owned(), self.reported.device_view().into());
        view
    }

    /// `desired` and `reported` with metadata and versions, the `properties` member of the
    /// service's twin document (twins.md §2).
    pub fn properties(&self) -> Object {
        let mut properties = Object::new();
        properties.insert("desired".to_owned(), self.desired.service_view().into());
        properties.insert("reported".to_owned(), self.reported.service_view().into());
        properties
    }
}

/// Member of a section that carries its version.
const VERSION: &str = "$version";
/// Member of a section that carries its metadata.
const METADATA: &str = "$metadata";
