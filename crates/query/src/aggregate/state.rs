//! Aggregates in the making.

use std::cmp::Ordering;

use downlink_domain::query::Scalar;

use crate::ast::Aggregate;
use crate::value::Found;

/// What an aggregate has seen so far.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum State {
    Count(u64),
    Sum(f64),
    Avg { sum: f64, count: u64 },
    Min(Option<Scalar>),
    Max(Option<Scalar>),
}

impl State {
    pub(super) fn new(of: Aggregate) -> Self {
        match of {
            Aggregate::Count => Self::Count(0),
            Aggregate::Sum => Self::Sum(0.0),
            Aggregate::Avg => Self::Avg { sum: 0.0, count: 0 },
            Aggregate::Min => Self::Min(None),
            Aggregate::Max => Self::Max(None),
        }
    }

    /// Adds the argument's value of a row, `None` when there is no argument; says how many bytes
    /// that has cost.
    pub(super) fn add(&mut self, found: Option<Found<'_>>) -> usize {
        let is_defined = found
            .as_ref()
            .is_none_or(|found| *found != Found::Undefined);
        let number = found.as_ref().and_then(Found::as_number);
        match self {
            Self::Count(count) => *count += u64::from(is_defined),
            Self::Sum(sum) => *sum += number.unwrap_or(0.0),
            Self::Avg { sum, count } => {
                *sum += number.unwrap_or(0.0);
                *count += u64::from(number.is_some());
            }
            Self::Min(least) => return keep(least, found, Ordering::Less),
            Self::Max(most) => return keep(most, found, Ordering::Greater),
        }
        0
    }

    /// Adds rows that were counted elsewhere.
    pub(super) fn add_rows(&mut self, rows: u64) {
        if let Self::Count(count) = self {
            *count += rows;
        }
    }

    pub(super) fn found(&self) -> Found<'_> {
        match self {
            Self::Count(count) => Found::made((*count).into()),
            Self::Sum(sum) => Found::finite(*sum),
            #[expect(clippy::cast_precision_loss, reason = "far fewer rows than 2^53")]
            Self::Avg { sum, count } => Found::finite(*sum / *count as f64),
            Self::Min(scalar) | Self::Max(scalar) => match scalar {
                None => Found::Undefined,
                Some(Scalar::Null) => Found::Null,
                Some(Scalar::Bool(is)) => Found::Bool(*is),
                Some(Scalar::Number(number)) => Found::Number(*number),
                Some(Scalar::Text(text)) => Found::text(text),
                Some(Scalar::Time(at)) => Found::Time(*at),
            },
        }
    }
}

/// Puts `found` in the place of `kept` when it is further in the wanted direction.
fn keep(kept: &mut Option<Scalar>, found: Option<Found<'_>>, wanted: Ordering) -> usize {
    let Some(scalar) = found.and_then(|found| found.as_scalar()) else {
        return 0;
    };
    let is_further = kept
        .as_ref()
        .is_none_or(|kept| order(&scalar, kept) == wanted);
    if !is_further {
        return 0;
    }
    let bytes = match &scalar {
        Scalar::Text(text) => text.len(),
        Scalar::Null | Scalar::Bool(_) | Scalar::Number(_) | Scalar::Time(_) => 0,
    };
    *kept = Some(scalar);
    bytes
}

/// Null before booleans, numbers, times and text.
fn order(left: &Scalar, right: &Scalar) -> Ordering {
    let rank = |scalar: &Scalar| match scalar {
        Scalar::Null => 0,
        Scalar::Bool(_) => 1,
        Scalar::Number(_) => 2,
        Scalar::Time(_) => 3,
        Scalar::Text(_) => 4,
    };
    match (left, right) {
        (Scalar::Bool(left), Scalar::Bool(right)) => left.cmp(right),
        (Scalar::Number(left), Scalar::Number(right)) => left.total_cmp(right),
        (Scalar::Time(left), Scalar::Time(right)) => left.cmp(right),
        (Scalar::Text(left), Scalar::Text(right)) => left.cmp(right),
        _ => rank(left).cmp(&rank(right)),
    }
}
