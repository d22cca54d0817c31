//! What expressions yield over a row.
//!
//! Truth has three values: what is undefined or of different kinds is neither true nor false, and
//! a condition holds when it is true (registry.md §5.2).

use downlink_domain::query::Comparison;

use crate::ast::{Expr, Literal, Math};
use crate::functions;
use crate::path::Path;
use crate::value::{Found, compare};

/// A row that paths lead into.
pub trait Document {
    /// What is at the end of `path`, [`Found::Undefined`] when nothing is.
    fn find(&self, path: &Path) -> Found<'_>;
}

/// A row without members, over which constant expressions are evaluated.
pub(crate) struct Empty;

impl Document for Empty {
    fn find(&self, _: &Path) -> Found<'_> {
        Found::Undefined
    }
}

/// Tells whether the condition is true of the row.
pub fn holds(condition: &Expr, row: &dyn Document) -> bool {
    truth(condition, row) == Some(true)
}

pub(crate) fn truth(condition: &Expr, row: &dyn Document) -> Option<bool> {
    value(condition, row).truth()
}

/// What `expr` yields; recursion is bounded by the depth of expressions.
pub(crate) fn value<'a>(expr: &'a Expr, row: &'a dyn Document) -> Found<'a> {
    match expr {
        Expr::Literal(literal) => Found::literal(literal),
        Expr::Path(path) => row.find(path),
        Expr::Call(function, arguments) => {
            let values: Vec<_> = arguments.iter().map(|part| value(part, row)).collect();
            functions::call(*function, &values)
        }
        Expr::Negative(part) => number_of(value(part, row).as_number().map(|number| -number)),
        Expr::Math(math, left, right) => {
            let sides = value(left, row)
                .as_number()
                .zip(value(right, row).as_number());
            number_of(sides.map(|(left, right)| math.of(left, right)))
        }
        Expr::Compare(comparison, left, right) => {
            truth_of(compare(&value(left, row), *comparison, &value(right, row)))
        }
        Expr::In(part, values) => truth_of(is_in(&value(part, row), values)),
        Expr::And(parts) => truth_of(all(parts, row, true)),
        Expr::Or(parts) => truth_of(all(parts, row, false)),
        Expr::Not(part) => truth_of(truth(part, row).map(|is| !is)),
        // The parser lets aggregates into SELECT alone, where `crate::aggregate` answers them.
        Expr::Aggregate(..) => Found::Undefined,
    }
}

/// AND of `parts` when `neutral` is true, else their OR: one part that is the other way decides,
/// whatever is undefined beside it.
fn all(parts: &[Expr], row: &dyn Document, neutral: bool) -> Option<bool> {
    let mut result = Some(neutral);
    for part in parts {
        match truth(part, row) {
            Some(is) if is != neutral => return Some(is),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

/// Undefined for what is undefined, an object or an array; true or false for everything else.
fn is_in(value: &Found<'_>, list: &[Literal]) -> Option<bool> {
    value.as_scalar()?;
    let is_equal = |literal| compare(value, Comparison::Eq, &Found::literal(literal)) == Some(true);
    Some(list.iter().any(is_equal))
}

pub(crate) fn truth_of(truth: Option<bool>) -> Found<'static> {
    truth.map_or(Found::Undefined, Found::Bool)
}

pub(crate) fn number_of(number: Option<f64>) -> Found<'static> {
    number.map_or(Found::Undefined, Found::finite)
}

impl Math {
    pub(crate) fn of(self, left: f64, right: f64) -> f64 {
        match self {
            Self::Add => left + right,
            Self::Subtract => left - right,
            Self::Multiply => left * right,
            Self::Divide => left / right,
            Self::Remainder => left % right,
        }
    }
}
