//! Filters over rows: what a store asks when its indexes leave something open, and what the
//! stores are held to.

use downlink_domain::device::{Authentication, DeviceStatus};
use downlink_domain::id::ModuleId;
use downlink_domain::query::{Field, Filter, Kind, Member, Scalar, Section};
use downlink_domain::time::Timestamp;
use serde_json::Value;

use super::ScanRow;

/// What a [`Field`] of a row is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Found<'r> {
    /// It is not there.
    Undefined,
    /// JSON's `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number, the nearest `f64`.
    Number(f64),
    /// Text.
    Text(&'r str),
    /// A point in time.
    Time(Timestamp),
    /// Some object.
    Object,
    /// Some array.
    Array,
}

/// Tells whether a filter holds for a row whose sections that the filter looks at are there.
pub fn holds(filter: &Filter, row: &ScanRow) -> bool {
    match filter {
        Filter::All => true,
        Filter::Nothing => false,
        Filter::And(parts) => parts.iter().all(|part| holds(part, row)),
        Filter::Or(parts) => parts.iter().any(|part| holds(part, row)),
        Filter::Compare {
            field,
            comparison,
            value,
        } => {
            let order = find(field, row).compare(value);
            order.is_some_and(|order| comparison.holds(order))
        }
        Filter::In { field, values } => find(field, row).is_any_of(values),
        Filter::NotIn { field, values } => {
            let found = find(field, row);
            found.is_scalar() && !found.is_any_of(values)
        }
        Filter::Is { field, kinds } => kinds.contains(find(field, row).kind()),
    }
}

/// What a field of a row is.
pub fn find<'r>(field: &Field, row: &'r ScanRow) -> Found<'r> {
    let device = &row.device;
    let text = |text: Option<&'r str>| text.map_or(Found::Undefined, Found::Text);
    match field {
        Field::DeviceId => Found::Text(device.name.device.as_str()),
        Field::ModuleId => text(device.name.module.as_ref().map(ModuleId::as_str)),
        Field::Status => Found::Text(match device.status {
            DeviceStatus::Enabled => "enabled",
            DeviceStatus::Disabled => "disabled",
        }),
        Field::StatusReason => text(device.status_reason.as_deref()),
        Field::StatusUpdateTime => Found::Time(device.status_updated_at),
        Field::ConnectionState => Found::Text(if device.is_connected {
            "Connected"
        } else {
            "Disconnected"
        }),
        Field::ConnectionStateUpdatedTime => Found::Time(device.connection_state_updated_at),
        Field::LastActivityTime => Found::Time(device.last_activity_at),
        Field::AuthenticationType => Found::Text(match device.authentication {
            Authentication::Sas(_) => "sas",
            Authentication::SelfSigned { .. } => "selfSigned",
            Authentication::CertificateAuthority => "certificateAuthority",
            Authentication::None => "none",
        }),
        Field::IsEdge => Found::Bool(device.is_edge),
        Field::DeviceScope => text(device.device_scope.as_deref()),
        Field::ModelId => Found::Text(&device.model_id),
        Field::Version => version(row.twin.version),
        Field::DesiredVersion => version(row.twin.desired.version),
        Field::ReportedVersion => version(row.twin.reported.version),
        Field::Member(member) => find_member(member, row),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "the nearest f64 is what a number stands for"
)]
fn version(version: u64) -> Found<'static> {
    Found::Number(version as f64)
}

fn find_member<'r>(member: &Member, row: &'r ScanRow) -> Found<'r> {
    let section = match member.section {
        Section::Tags => &row.twin.tags,
        Section::Desired => &row.twin.desired.values,
        Section::Reported => &row.twin.reported.values,
        Section::Configurations => &row.configurations,
    };
    let mut names = member.path.iter();
    let first = names.next().and_then(|name| section.get(name));
    let value = first.and_then(|first| names.try_fold(first, |value, name| value.get(name)));
    value.map_or(Found::Undefined, Found::of)
}

impl<'r> Found<'r> {
    fn of(value: &'r Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            // Twins hold no number that is none of these.
            Value::Number(number) => Self::Number(number.as_f64().unwrap_or(f64::NAN)),
            Value::String(text) => Self::Text(text),
            Value::Object(_) => Self::Object,
            Value::Array(_) => Self::Array,
        }
    }

    /// Its kind; a time is text to whoever asks for kinds.
    pub const fn kind(self) -> Kind {
        match self {
            Self::Undefined => Kind::Undefined,
            Self::Null => Kind::Null,
            Self::Bool(_) => Kind::Bool,
            Self::Number(_) => Kind::Number,
            Self::Text(_) | Self::Time(_) => Kind::Text,
            Self::Object => Kind::Object,
            Self::Array => Kind::Array,
        }
    }

    /// How it stands to `value`; `None` when they are of different kinds.
    fn compare(self, value: &Scalar) -> Option<std::cmp::Ordering> {
        match (self, value) {
            (Self::Null, Scalar::Null) => Some(std::cmp::Ordering::Equal),
            (Self::Bool(found), Scalar::Bool(value)) => Some(found.cmp(value)),
            (Self::Number(found), Scalar::Number(value)) => found.partial_cmp(value),
            // Text is ordered by its bytes.
            (Self::Text(found), Scalar::Text(value)) => Some(found.cmp(value.as_str())),
            (Self::Time(found), Scalar::Time(value)) => Some(found.cmp(value)),
            _ => None,
        }
    }

    fn is_any_of(self, values: &[Scalar]) -> bool {
        values
            .iter()
            .any(|value| self.compare(value).is_some_and(std::cmp::Ordering::is_eq))
    }

    const fn is_scalar(self) -> bool {
        !matches!(self, Self::Undefined | Self::Object | Self::Array)
    }
}
