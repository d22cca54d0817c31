//! A condition into what a store answers.
//!
//! The filter never loses a row of which the condition is true. NOT is pushed down to the leaves:
//! with three truth values "not true" and "false" differ, so each expression is planned for the
//! one or the other truth that is wanted of it.

mod leaf;

use downlink_domain::Timestamp;
use downlink_domain::query::{Filter, MAX_FILTER_DEPTH, MAX_FILTER_NODES};

use crate::ast::{Expr, Literal};
use crate::evaluate::{Empty, truth};
use crate::path::Step;
use downlink_domain::query::Comparison;

/// What a condition comes to in a store.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Holds for every row of which the condition is true.
    pub filter: Filter,
    /// Whether it holds for no other row.
    pub is_exact: bool,
}

impl Plan {
    fn exact(filter: Filter) -> Self {
        Self {
            filter,
            is_exact: true,
        }
    }

    fn within(filter: Filter) -> Self {
        Self {
            filter,
            is_exact: false,
        }
    }

    /// What is said of no row at all.
    fn unknown() -> Self {
        Self::within(Filter::All)
    }
}

/// Plans a condition over twins; no condition is true of all.
pub fn plan(condition: Option<&Expr>) -> Plan {
    let Some(condition) = condition else {
        return Plan::exact(Filter::All);
    };
    let plan = wanted(condition, true);
    let fits = plan.filter.nodes() <= MAX_FILTER_NODES && depth(&plan.filter) <= MAX_FILTER_DEPTH;
    if fits { plan } else { Plan::unknown() }
}

/// Rows for which `expr` has the truth `is`.
fn wanted(expr: &Expr, is: bool) -> Plan {
    if expr.paths().is_empty() {
        let holds = truth(expr, &Empty) == Some(is);
        return Plan::exact(if holds { Filter::All } else { Filter::Nothing });
    }
    match expr {
        Expr::Not(part) => wanted(part, !is),
        Expr::And(parts) | Expr::Or(parts) => {
            let plans: Vec<_> = parts.iter().map(|part| wanted(part, is)).collect();
            // All of an AND are wanted true, but one that is false makes it false.
            let all = matches!(expr, Expr::And(_)) == is;
            if all { both(plans) } else { either(plans) }
        }
        Expr::Compare(comparison, left, right) => leaf::compare(*comparison, left, right, is),
        Expr::In(part, values) => leaf::is_in(part, values, is),
        Expr::Call(function, arguments) => leaf::call(*function, arguments, is),
        Expr::Path(path) => leaf::is_bool(path, is),
        // Numbers and text are neither true nor false.
        Expr::Literal(_) | Expr::Negative(_) | Expr::Math(..) | Expr::Aggregate(..) => {
            Plan::exact(Filter::Nothing)
        }
    }
}

fn both(plans: Vec<Plan>) -> Plan {
    let is_exact = plans.iter().all(|plan| plan.is_exact);
    let mut filters = Vec::with_capacity(plans.len());
    for plan in plans {
        match plan.filter {
            Filter::Nothing => return Plan::exact(Filter::Nothing),
            Filter::All => {}
            Filter::And(parts) => filters.extend(parts),
            filter => filters.push(filter),
        }
    }
    let filter = one_or(filters, Filter::All, Filter::And);
    Plan { filter, is_exact }
}

fn either(plans: Vec<Plan>) -> Plan {
    if plans
        .iter()
        .any(|plan| plan.filter == Filter::All && plan.is_exact)
    {
        return Plan::exact(Filter::All);
    }
    let is_exact = plans.iter().all(|plan| plan.is_exact);
    let mut filters = Vec::with_capacity(plans.len());
    for plan in plans {
        match plan.filter {
            Filter::All => return Plan::unknown(),
            Filter::Nothing => {}
            Filter::Or(parts) => filters.extend(parts),
            filter => filters.push(filter),
        }
    }
    let filter = one_or(filters, Filter::Nothing, Filter::Or);
    Plan { filter, is_exact }
}

fn one_or(mut filters: Vec<Filter>, none: Filter, many: fn(Vec<Filter>) -> Filter) -> Filter {
    match filters.len() {
        0 => none,
        1 => filters.remove(0),
        _ => many(filters),
    }
}

fn depth(filter: &Filter) -> usize {
    match filter {
        Filter::And(parts) | Filter::Or(parts) => {
            1 + parts.iter().map(depth).max().unwrap_or_default()
        }
        Filter::All
        | Filter::Nothing
        | Filter::Compare { .. }
        | Filter::In { .. }
        | Filter::NotIn { .. }
        | Filter::Is { .. } => 1,
    }
}

/// What the condition demands to be some text, each a member's names and the text: of rows where
/// one is another, the condition is not true. For those who look rows up rather than scan them.
pub fn text_equalities(condition: Option<&Expr>) -> Vec<(Vec<&str>, &str)> {
    let parts = match condition {
        None => return Vec::new(),
        Some(Expr::And(parts)) => parts.as_slice(),
        Some(part) => std::slice::from_ref(part),
    };
    let sides = parts.iter().filter_map(|part| match part {
        Expr::Compare(Comparison::Eq, left, right) => match (&**left, &**right) {
            (Expr::Path(path), Expr::Literal(Literal::Text(text)))
            | (Expr::Literal(Literal::Text(text)), Expr::Path(path)) => Some((path, text)),
            _ => None,
        },
        _ => None,
    });
    let named = sides.filter_map(|(path, text)| {
        let names = path.steps().iter().map(|step| match step {
            Step::Name(name) => Some(name.as_str()),
            Step::Index(_) => None,
        });
        Some((names.collect::<Option<Vec<_>>>()?, text.as_str()))
    });
    named.collect()
}

/// The instant as milliseconds, and whether that is all of it; `None` outside years 1 to 9999.
fn millis(nanos: i128) -> Option<(Timestamp, bool)> {
    let floor = i64::try_from(nanos.div_euclid(1_000_000)).ok()?;
    let at = Timestamp::from_millis(floor);
    (at.as_millis() == floor).then_some((at, nanos.rem_euclid(1_000_000) == 0))
}
