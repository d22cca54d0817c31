//! Filters over what identities and twins have columns for.
//!
//! In the statements `i` is the identity, `p` the device of a module, `t` the twin.

use downlink_domain::Timestamp;
use downlink_domain::query::{Comparison, Field, Filter, GroupValue, Kind, Kinds, Scalar, Source};
use downlink_ports::StoreError;

use super::text::{Piece, Text};
use crate::fields::Fields;

/// A condition that is weaker than a filter or says the same.
#[derive(Clone, Debug)]
pub(super) struct Pushed {
    /// `None`: every row.
    pub(super) condition: Option<Piece>,
    /// Whether it says the same.
    pub(super) is_exact: bool,
}

/// How a column's values are told to a statement.
#[derive(Clone, Copy)]
enum Values {
    Text,
    Bool,
    Number,
    Time,
}

impl Pushed {
    const ANYTHING: Self = Self {
        condition: None,
        is_exact: false,
    };

    fn exactly(condition: Piece) -> Self {
        Self {
            condition: Some(condition),
            is_exact: true,
        }
    }

    fn constant(holds: bool) -> Self {
        Self {
            condition: (!holds).then(|| Piece::of("FALSE")),
            is_exact: true,
        }
    }
}

/// The strongest condition over columns that no row of `filter` fails.
pub(super) fn push(filter: &Filter, source: Source, text: &mut Text) -> Pushed {
    match filter {
        Filter::All => Pushed::constant(true),
        Filter::Nothing => Pushed::constant(false),
        Filter::And(parts) => {
            let parts: Vec<_> = parts.iter().map(|part| push(part, source, text)).collect();
            let is_exact = parts.iter().all(|part| part.is_exact);
            let conditions: Vec<_> = parts.into_iter().filter_map(|p| p.condition).collect();
            Pushed {
                condition: joined(&conditions, " AND "),
                is_exact,
            }
        }
        Filter::Or(parts) => {
            let parts: Vec<_> = parts.iter().map(|part| push(part, source, text)).collect();
            let is_exact = parts.iter().all(|part| part.is_exact);
            let conditions: Option<Vec<_>> = parts.into_iter().map(|p| p.condition).collect();
            Pushed {
                condition: conditions.and_then(|conditions| joined(&conditions, " OR ")),
                is_exact,
            }
        }
        Filter::Compare { field, .. }
        | Filter::In { field, .. }
        | Filter::NotIn { field, .. }
        | Filter::Is { field, .. } => match column(field, source) {
            Column::Member => Pushed::ANYTHING,
            Column::Absent => Pushed::constant(holds_undefined(filter)),
            Column::There(expression, values) => leaf(filter, expression, values, text),
        },
    }
}

fn joined(conditions: &[Piece], between: &'static str) -> Option<Piece> {
    match conditions {
        [] => None,
        _ => Some(
            Piece::of("(")
                .and(&Piece::joined(conditions, between))
                .then(")"),
        ),
    }
}

/// Tells whether a leaf holds for what is undefined.
fn holds_undefined(leaf: &Filter) -> bool {
    matches!(leaf, Filter::Is { kinds, .. } if kinds.contains(Kind::Undefined))
}

enum Column {
    /// It is in a document.
    Member,
    /// Rows of this source never have it.
    Absent,
    /// An expression, NULL where it is undefined.
    There(&'static str, Values),
}

fn column(field: &Field, source: Source) -> Column {
    use Column::There;
    // The status of a module is that of its device.
    let of_status = |device, module| match source {
        Source::Devices => device,
        Source::Modules => module,
    };
    match field {
        Field::DeviceId => There("i.device_id", Values::Text),
        Field::ModuleId if source == Source::Devices => Column::Absent,
        Field::ModuleId => There("i.module_id", Values::Text),
        Field::Status => There(
            of_status("i.status COLLATE \"C\"", "p.status COLLATE \"C\""),
            Values::Text,
        ),
        Field::StatusReason => There(
            of_status(
                "i.status_reason COLLATE \"C\"",
                "p.status_reason COLLATE \"C\"",
            ),
            Values::Text,
        ),
        Field::StatusUpdateTime => There(
            of_status("i.status_updated_at", "p.status_updated_at"),
            Values::Time,
        ),
        Field::ConnectionState => There(
            "(CASE WHEN i.is_connected THEN 'Connected' ELSE 'Disconnected' END) COLLATE \"C\"",
            Values::Text,
        ),
        Field::ConnectionStateUpdatedTime => There("i.connection_state_updated_at", Values::Time),
        Field::LastActivityTime => There("i.last_activity_at", Values::Time),
        Field::AuthenticationType => There("i.authentication COLLATE \"C\"", Values::Text),
        Field::IsEdge => There("i.is_edge", Values::Bool),
        Field::DeviceScope => There("i.device_scope", Values::Text),
        Field::ModelId => There("i.model_id", Values::Text),
        Field::Version => There("t.version::double precision", Values::Number),
        Field::DesiredVersion => There("t.desired_version::double precision", Values::Number),
        Field::ReportedVersion => There("t.reported_version::double precision", Values::Number),
        Field::Member(_) => Column::Member,
    }
}

/// A leaf over one column. What is undefined is NULL, which no comparison holds for.
fn leaf(filter: &Filter, expression: &'static str, values: Values, text: &mut Text) -> Pushed {
    let kind = match values {
        Values::Text | Values::Time => Kind::Text,
        Values::Bool => Kind::Bool,
        Values::Number => Kind::Number,
    };
    match filter {
        Filter::Compare {
            comparison, value, ..
        } => match parameter(value, values, text) {
            Some(value) => Pushed::exactly(
                Piece::of(expression)
                    .then(operator(*comparison))
                    .and(&value),
            ),
            None => Pushed::constant(false),
        },
        Filter::In { values: list, .. } => {
            let wanted: Vec<_> = list
                .iter()
                .filter_map(|value| parameter(value, values, text))
                .collect();
            if wanted.is_empty() {
                return Pushed::constant(false);
            }
            let list = Piece::of(expression)
                .then(" = ANY (ARRAY[")
                .and(&Piece::joined(&wanted, ", "))
                .then("])");
            Pushed::exactly(list)
        }
        Filter::NotIn { values: list, .. } => {
            let refused: Vec<_> = list
                .iter()
                .filter_map(|value| parameter(value, values, text))
                .collect();
            if refused.is_empty() {
                return Pushed::exactly(Piece::of(expression).then(" IS NOT NULL"));
            }
            let list = Piece::of(expression)
                .then(" <> ALL (ARRAY[")
                .and(&Piece::joined(&refused, ", "))
                .then("])");
            Pushed::exactly(list)
        }
        Filter::Is { kinds, .. } => is(*kinds, kind, expression),
        Filter::All | Filter::Nothing | Filter::And(_) | Filter::Or(_) => Pushed::ANYTHING,
    }
}

fn is(kinds: Kinds, kind: Kind, expression: &'static str) -> Pushed {
    match (kinds.contains(kind), kinds.contains(Kind::Undefined)) {
        (true, true) => Pushed::constant(true),
        (false, false) => Pushed::constant(false),
        (true, false) => Pushed::exactly(Piece::of(expression).then(" IS NOT NULL")),
        (false, true) => Pushed::exactly(Piece::of(expression).then(" IS NULL")),
    }
}

/// A value as a parameter, unless no value of the column can be compared with it.
fn parameter(value: &Scalar, values: Values, text: &mut Text) -> Option<Piece> {
    let parameter = match (value, values) {
        // No text here holds the character that Postgres cannot.
        (Scalar::Text(value), Values::Text) if !value.contains('\0') => {
            text.parameter(value.clone(), "text")
        }
        (Scalar::Bool(value), Values::Bool) => text.parameter(*value, "boolean"),
        (Scalar::Number(value), Values::Number) => text.parameter(*value, "double precision"),
        (Scalar::Time(value), Values::Time) => text.parameter(value.as_millis(), "bigint"),
        _ => return None,
    };
    Some(Piece::default().name(parameter))
}

pub(super) const fn operator(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Eq => " = ",
        Comparison::Ne => " <> ",
        Comparison::Lt => " < ",
        Comparison::Le => " <= ",
        Comparison::Gt => " > ",
        Comparison::Ge => " >= ",
    }
}

/// A column that rows are grouped by.
#[derive(Clone, Copy)]
pub(super) struct Grouped(Option<(&'static str, Values)>);

/// The column of a field, if it is not in a document.
pub(super) fn grouped(field: &Field, source: Source) -> Option<Grouped> {
    match column(field, source) {
        Column::Member => None,
        Column::Absent => Some(Grouped(None)),
        Column::There(expression, values) => Some(Grouped(Some((expression, values)))),
    }
}

impl Grouped {
    /// What is grouped by.
    pub(super) fn expression(&self) -> Piece {
        Piece::of(self.0.map_or("NULL::text", |(expression, _)| expression))
    }

    /// What a group has in common.
    pub(super) fn read(
        &self,
        row: Fields<'_>,
        alias: &'static str,
    ) -> Result<GroupValue, StoreError> {
        let value = match self.0 {
            None => None,
            Some((_, Values::Text)) => row.get::<Option<String>>(alias)?.map(Scalar::Text),
            Some((_, Values::Bool)) => row.get::<Option<bool>>(alias)?.map(Scalar::Bool),
            Some((_, Values::Number)) => row.get::<Option<f64>>(alias)?.map(Scalar::Number),
            Some((_, Values::Time)) => row
                .get::<Option<i64>>(alias)?
                .map(|at| Scalar::Time(Timestamp::from_millis(at))),
        };
        Ok(value.map_or(GroupValue::Undefined, GroupValue::Scalar))
    }
}
