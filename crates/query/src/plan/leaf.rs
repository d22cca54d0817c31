//! Single comparisons and calls into leaves of filters.

use downlink_domain::Timestamp;
use downlink_domain::query::{Comparison, Field, Filter, Kind, Kinds, Scalar};

use super::{Plan, both, either, millis};
use crate::ast::{Expr, Literal};
use crate::evaluate::{Empty, value};
use crate::functions::Function;
use crate::path::Path;
use crate::value::{Found, instant};

/// What of a row is compared with a value that is the same for all rows.
fn field_and_value<'a>(
    comparison: Comparison,
    left: &'a Expr,
    right: &'a Expr,
) -> Option<(Field, Comparison, Found<'a>)> {
    let is_constant = |expr: &Expr| expr.paths().is_empty();
    match (left, right) {
        (Expr::Path(path), other) if is_constant(other) => {
            Some((path.field()?, comparison, value(other, &Empty)))
        }
        (other, Expr::Path(path)) if is_constant(other) => {
            Some((path.field()?, comparison.mirrored(), value(other, &Empty)))
        }
        _ => None,
    }
}

pub(super) fn compare(comparison: Comparison, left: &Expr, right: &Expr, is: bool) -> Plan {
    let Some((field, comparison, constant)) = field_and_value(comparison, left, right) else {
        return Plan::unknown();
    };
    // Of two values of one kind that compare, the comparison or its opposite is so.
    let comparison = if is { comparison } else { comparison.negated() };
    compared(field, comparison, &constant)
}

fn compared(field: Field, comparison: Comparison, constant: &Found<'_>) -> Plan {
    if field.is_time() {
        return match constant.as_text().as_deref().and_then(instant) {
            Some(at) => compare_time(field, comparison, at),
            None => Plan::exact(Filter::Nothing),
        };
    }
    let Some(value) = constant.as_scalar() else {
        return Plan::exact(Filter::Nothing);
    };
    let compares = match value {
        Scalar::Null => comparison == Comparison::Eq,
        Scalar::Bool(_) => matches!(comparison, Comparison::Eq | Comparison::Ne),
        Scalar::Number(_) | Scalar::Text(_) => true,
        Scalar::Time(_) => false,
    };
    if !compares {
        return Plan::exact(Filter::Nothing);
    }
    if has_nul(&value) {
        let kinds = Kinds::of(&[Kind::Text]);
        return Plan::within(Filter::Is { field, kinds });
    }
    Plan::exact(Filter::Compare {
        field,
        comparison,
        value,
    })
}

/// Filters hold no U+0000, which not every database can compare.
fn has_nul(value: &Scalar) -> bool {
    matches!(value, Scalar::Text(text) if text.contains('\0'))
}

/// Rows have times in whole milliseconds, the constant may be between two of them.
fn compare_time(field: Field, comparison: Comparison, nanos: i128) -> Plan {
    let always = |is: bool| Plan::exact(if is { Filter::All } else { Filter::Nothing });
    let Some((at, is_whole)) = millis(nanos) else {
        let is_late = nanos > 0;
        return always(match comparison {
            Comparison::Eq => false,
            Comparison::Ne => true,
            Comparison::Lt | Comparison::Le => is_late,
            Comparison::Gt | Comparison::Ge => !is_late,
        });
    };
    let comparison = match (comparison, is_whole) {
        (Comparison::Eq, false) => return always(false),
        (Comparison::Ne, false) => return always(true),
        (Comparison::Lt, false) => Comparison::Le,
        (Comparison::Ge, false) => Comparison::Gt,
        (comparison, _) => comparison,
    };
    Plan::exact(Filter::Compare {
        field,
        comparison,
        value: Scalar::Time(at),
    })
}

pub(super) fn is_in(part: &Expr, values: &[Literal], is: bool) -> Plan {
    let Expr::Path(path) = part else {
        return Plan::unknown();
    };
    let Some(field) = path.field() else {
        return Plan::unknown();
    };
    if field.is_time() {
        return is_time_in(field, values, is);
    }
    let values = values.iter().map(Found::literal);
    let values: Vec<_> = values.filter_map(|value| value.as_scalar()).collect();
    let (odd, values): (Vec<_>, Vec<_>) = values.into_iter().partition(has_nul);
    let listed = match (values.is_empty(), is) {
        (true, true) => Plan::exact(Filter::Nothing),
        (true, false) => Plan::exact(Filter::Is {
            field: field.clone(),
            kinds: Kinds::PRIMITIVE,
        }),
        (false, true) => Plan::exact(Filter::In {
            field: field.clone(),
            values,
        }),
        (false, false) => Plan::exact(Filter::NotIn {
            field: field.clone(),
            values,
        }),
    };
    if odd.is_empty() {
        return listed;
    }
    let kinds = Kinds::of(&[Kind::Text]);
    let texts = Plan::within(Filter::Is { field, kinds });
    if is {
        either(vec![listed, texts])
    } else {
        Plan::within(listed.filter)
    }
}

fn is_time_in(field: Field, values: &[Literal], is: bool) -> Plan {
    let times = values.iter().filter_map(|value| match value {
        Literal::Text(text) => instant(text).and_then(millis),
        _ => None,
    });
    let times: Vec<_> = times
        .filter(|(_, is_whole)| *is_whole)
        .map(|(at, _): (Timestamp, bool)| Scalar::Time(at))
        .collect();
    Plan::exact(match (times.is_empty(), is) {
        (true, true) => Filter::Nothing,
        (true, false) => Filter::All,
        (false, true) => Filter::In {
            field,
            values: times,
        },
        (false, false) => Filter::NotIn {
            field,
            values: times,
        },
    })
}

pub(super) fn is_bool(path: &Path, is: bool) -> Plan {
    let Some(field) = path.field() else {
        return Plan::unknown();
    };
    compared(field, Comparison::Eq, &Found::Bool(is))
}

pub(super) fn call(function: Function, arguments: &[Expr], is: bool) -> Plan {
    let Some((Expr::Path(path), rest)) = arguments.split_first() else {
        return Plan::unknown();
    };
    let Some(field) = path.field() else {
        return Plan::unknown();
    };
    if let Some(kinds) = function.asks_for() {
        let kinds = if is { kinds } else { kinds.complement() };
        return Plan::exact(Filter::Is { field, kinds });
    }
    match (function, rest) {
        (Function::StartsWith, [prefix]) if prefix.paths().is_empty() => {
            starts_with(&field, &value(prefix, &Empty), is)
        }
        (Function::StartsWith | Function::EndsWith | Function::Contains, _) => {
            let kinds = Kinds::of(&[Kind::Text]);
            Plan::within(Filter::Is { field, kinds })
        }
        (Function::ArrayContains, _) => {
            let kinds = Kinds::of(&[Kind::Array]);
            Plan::within(Filter::Is { field, kinds })
        }
        // What is neither true nor false: text and numbers.
        _ => Plan::exact(Filter::Nothing),
    }
}

/// Texts with a prefix are those from it up to the next text that does not begin with it.
fn starts_with(field: &Field, prefix: &Found<'_>, is: bool) -> Plan {
    let Found::Text(prefix) = prefix else {
        return Plan::exact(Filter::Nothing);
    };
    let text = Filter::Is {
        field: field.clone(),
        kinds: Kinds::of(&[Kind::Text]),
    };
    if field.is_time() || prefix.contains('\0') {
        return Plan::within(text);
    }
    if prefix.is_empty() {
        return Plan::exact(if is { text } else { Filter::Nothing });
    }
    let bound = |comparison, text: String| {
        Plan::exact(Filter::Compare {
            field: field.clone(),
            comparison,
            value: Scalar::Text(text),
        })
    };
    let prefix = prefix.clone().into_owned();
    let end = successor(&prefix);
    let (from, until) = if is {
        (Comparison::Ge, Comparison::Lt)
    } else {
        (Comparison::Lt, Comparison::Ge)
    };
    let mut plans = vec![bound(from, prefix)];
    plans.extend(end.map(|end| bound(until, end)));
    if is { both(plans) } else { either(plans) }
}

/// The least text above all that begin with `prefix`; `None` when nothing is above them.
fn successor(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = if last == '\u{d7ff}' {
            Some('\u{e000}')
        } else {
            char::from_u32(u32::from(last) + 1)
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}
