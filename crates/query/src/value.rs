//! Values as expressions see them.

use std::borrow::Cow;
use std::cmp::Ordering;

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;
use downlink_domain::Timestamp;
use downlink_domain::query::{Comparison, Kind, Scalar};
use serde_json::{Number, Value};

use crate::ast::Literal;

/// What an expression yields.
#[derive(Clone, Debug, PartialEq)]
pub enum Found<'a> {
    /// There is nothing, or the operation has no result for what it was given.
    Undefined,
    /// JSON's `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A computed number, finite.
    Number(f64),
    /// Text.
    Text(Cow<'a, str>),
    /// A time of the system; text to everything but comparisons.
    Time(Timestamp),
    /// A number, an object or an array as it stands in a document.
    Json(Cow<'a, Value>),
}

impl<'a> Found<'a> {
    /// The value of a document.
    pub fn of(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(is) => Self::Bool(*is),
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Number(_) | Value::Object(_) | Value::Array(_) => {
                Self::Json(Cow::Borrowed(value))
            }
        }
    }

    /// A value made for the occasion.
    pub fn made(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(is) => Self::Bool(is),
            Value::String(text) => Self::Text(Cow::Owned(text)),
            Value::Number(_) | Value::Object(_) | Value::Array(_) => Self::Json(Cow::Owned(value)),
        }
    }

    /// Text that lives elsewhere.
    pub fn text(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    pub(crate) fn literal(literal: &'a Literal) -> Self {
        match literal {
            Literal::Undefined => Self::Undefined,
            Literal::Null => Self::Null,
            Literal::Bool(is) => Self::Bool(*is),
            Literal::Number(number) => Self::Number(*number),
            Literal::Text(text) => Self::text(text),
        }
    }

    /// The number if it is finite, or nothing.
    pub(crate) fn finite(number: f64) -> Self {
        if number.is_finite() {
            Self::Number(number)
        } else {
            Self::Undefined
        }
    }

    /// What kind of value it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Undefined => Kind::Undefined,
            Self::Null => Kind::Null,
            Self::Bool(_) => Kind::Bool,
            Self::Number(_) => Kind::Number,
            Self::Text(_) | Self::Time(_) => Kind::Text,
            Self::Json(value) => match value.as_ref() {
                Value::Null => Kind::Null,
                Value::Bool(_) => Kind::Bool,
                Value::Number(_) => Kind::Number,
                Value::String(_) => Kind::Text,
                Value::Array(_) => Kind::Array,
                Value::Object(_) => Kind::Object,
            },
        }
    }

    /// The number, `None` when it is none.
    pub fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Json(value) => value.as_f64().filter(|number| number.is_finite()),
            _ => None,
        }
    }

    /// The text, `None` when it is none.
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(Cow::Borrowed(text)),
            Self::Time(at) => Some(Cow::Owned(at.to_string())),
            _ => None,
        }
    }

    /// The truth of a condition, `None` when it has none.
    pub fn truth(&self) -> Option<bool> {
        match self {
            Self::Bool(is) => Some(*is),
            _ => None,
        }
    }

    /// As JSON, `None` when undefined.
    pub fn into_json(self) -> Option<Value> {
        match self {
            Self::Undefined => None,
            Self::Null => Some(Value::Null),
            Self::Bool(is) => Some(Value::Bool(is)),
            Self::Number(number) => Some(number_json(number)),
            Self::Text(text) => Some(Value::String(text.into_owned())),
            Self::Time(at) => Some(Value::String(at.to_string())),
            Self::Json(value) => Some(value.into_owned()),
        }
    }

    /// As something that can be compared, `None` when it cannot.
    pub(crate) fn as_scalar(&self) -> Option<Scalar> {
        match self {
            Self::Undefined => None,
            Self::Null => Some(Scalar::Null),
            Self::Bool(is) => Some(Scalar::Bool(*is)),
            Self::Text(text) => Some(Scalar::Text(text.clone().into_owned())),
            Self::Time(at) => Some(Scalar::Time(*at)),
            Self::Number(_) | Self::Json(_) => self.as_number().map(Scalar::Number),
        }
    }
}

/// A computed number as JSON, whole ones without a fraction.
pub(crate) fn number_json(number: f64) -> Value {
    /// Up to here every whole number is an `f64`.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if number.fract() == 0.0 && number.abs() <= EXACT {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a whole number of at most 53 bits"
        )]
        return Value::from(number as i64);
    }
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

/// Whether two values compare so: `None` when they are of different kinds, or of kinds that do not
/// compare.
pub(crate) fn compare(left: &Found<'_>, comparison: Comparison, right: &Found<'_>) -> Option<bool> {
    if let (Some(left), Some(right)) = (left.as_number(), right.as_number()) {
        return left
            .partial_cmp(&right)
            .map(|order| comparison.holds(order));
    }
    let is_equality = matches!(comparison, Comparison::Eq | Comparison::Ne);
    let order = match (left, right) {
        (Found::Text(left), Found::Text(right)) => left.cmp(right),
        (Found::Time(left), Found::Time(right)) => left.cmp(right),
        (Found::Time(left), Found::Text(right)) => nanos(*left).cmp(&instant(right)?),
        (Found::Text(left), Found::Time(right)) => instant(left)?.cmp(&nanos(*right)),
        (Found::Bool(left), Found::Bool(right)) if is_equality => left.cmp(right),
        (Found::Null, Found::Null) if is_equality => Ordering::Equal,
        _ => return None,
    };
    Some(comparison.holds(order))
}

/// Nanoseconds since the Unix epoch.
fn nanos(at: Timestamp) -> i128 {
    i128::from(at.as_millis()) * 1_000_000
}

/// The instant that an ISO 8601 text names, in nanoseconds since the Unix epoch: a date, or a date
/// and a time with `Z`, an offset, or neither, which is UTC.
pub(crate) fn instant(text: &str) -> Option<i128> {
    /// Longer texts name none; so no long text is copied.
    const LONGEST: usize = 64;
    if text.len() > LONGEST {
        return None;
    }
    let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let parsed = parse(text)
        .or_else(|| parse(&format!("{text}Z")))
        .or_else(|| parse(&format!("{text}T00:00:00Z")))?;
    Some(parsed.unix_timestamp_nanos())
}
