//! Rows into groups, groups into what a query selects of them.

mod digest;
mod state;

use std::collections::HashMap;

use downlink_domain::query::{Field, GroupValue, Scalar};
use downlink_domain::twin::Object;
use serde_json::Value;
use thiserror::Error;

use self::state::State;
use crate::ast::{Aggregate, Expr, Item, Query, Select};
use crate::evaluate::{Document, value};
use crate::path::{Path, Step};
use crate::project::project;
use crate::value::{Found, number_json};

pub use digest::GroupDigest;

/// There are more groups, or larger ones, than may be held at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the query has too many groups")]
pub struct TooManyGroups;

/// A finished group.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Names the group wherever and whenever it is found.
    pub digest: GroupDigest,
    /// What is selected of it.
    pub selected: Object,
}

/// Groups in the making.
#[derive(Debug)]
pub struct Groups {
    group_by: Vec<Expr>,
    aggregates: Vec<(Aggregate, Option<Expr>)>,
    /// The items, with aggregates and what is grouped by in the place of paths.
    items: Vec<Item>,
    by_digest: HashMap<GroupDigest, Members>,
    most: usize,
    max_bytes: usize,
    bytes: usize,
}

/// One group in the making.
#[derive(Debug)]
struct Members {
    values: Vec<Option<Value>>,
    states: Vec<State>,
}

/// Roots that no path of a query has, since they are not names of the system.
const VALUES: &str = "\u{1}values";
const STATES: &str = "\u{1}states";

impl Query {
    /// By which fields a store can count the rows for this query, `None` when counting is not all
    /// that it asks for, or when its groups are made of what stores do not know.
    pub fn tally_fields(&self) -> Option<Vec<Field>> {
        let Select::Items(items) = &self.select else {
            return None;
        };
        let mut is_count = true;
        for item in items {
            item.expr.walk(&mut |expr| {
                let is_other = matches!(expr, Expr::Aggregate(of, argument)
                    if *of != Aggregate::Count || argument.is_some());
                is_count &= !is_other;
            });
        }
        let fields = self.group_by.iter().map(|expr| match expr {
            Expr::Path(path) => path.field(),
            _ => None,
        });
        let fields = fields.collect::<Option<Vec<_>>>()?;
        (self.is_grouped() && is_count).then_some(fields)
    }
}

impl Groups {
    /// No groups yet, or for a query without GROUP BY the one group of all rows. Holds at most
    /// `max_groups` groups and about `max_bytes` bytes of their values.
    pub fn new(query: &Query, max_groups: usize, max_bytes: usize) -> Self {
        let selected = match &query.select {
            Select::All => &[],
            Select::Items(items) => items.as_slice(),
        };
        let mut aggregates = Vec::new();
        let items = selected.iter().map(|item| Item {
            expr: placed(&item.expr, &query.group_by, &mut aggregates),
            name: item.name.clone(),
        });
        let items = items.collect();
        let mut groups = Self {
            group_by: query.group_by.clone(),
            aggregates,
            items,
            by_digest: HashMap::new(),
            most: max_groups,
            max_bytes,
            bytes: 0,
        };
        if groups.group_by.is_empty() {
            let members = groups.members(Vec::new());
            groups.by_digest.insert(GroupDigest::of(&[]), members);
        }
        groups
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`TooManyGroups`]: the row is not in any group.
    pub fn add_row(&mut self, row: &dyn Document) -> Result<(), TooManyGroups> {
        let values = self.group_by.iter().map(|expr| match value(expr, row) {
            found @ (Found::Number(_) | Found::Json(_)) => match found.as_number() {
                Some(number) => Some(number_json(number)),
                None => found.into_json(),
            },
            found => found.into_json(),
        });
        let values = values.collect();
        let digest = self.group(values)?;
        let mut grown = 0;
        if let Some(members) = self.by_digest.get_mut(&digest) {
            for (state, (_, argument)) in members.states.iter_mut().zip(&self.aggregates) {
                grown += state.add(argument.as_ref().map(|argument| value(argument, row)));
            }
        }
        self.grow(grown)
    }

    /// Adds what a store has counted; the groups must be of [`Query::tally_fields`]. `Ok(false)`
    /// when the store could not tell its rows apart, which then have to be added one by one.
    ///
    /// # Errors
    /// [`TooManyGroups`]: the count is not in any group.
    pub fn add_count(
        &mut self,
        values: Vec<GroupValue>,
        count: u64,
    ) -> Result<bool, TooManyGroups> {
        let mut known = Vec::with_capacity(values.len());
        for value in values {
            known.push(match value {
                GroupValue::Undefined => None,
                GroupValue::Composite => return Ok(false),
                GroupValue::Scalar(scalar) => Some(match scalar {
                    Scalar::Null => Value::Null,
                    Scalar::Bool(is) => Value::Bool(is),
                    Scalar::Number(number) => number_json(number),
                    Scalar::Text(text) => Value::String(text),
                    Scalar::Time(at) => Value::String(at.to_string()),
                }),
            });
        }
        let digest = self.group(known)?;
        let members = self.by_digest.get_mut(&digest);
        for state in members.into_iter().flat_map(|members| &mut members.states) {
            state.add_rows(count);
        }
        Ok(true)
    }

    /// What is selected of each group, in the order of their digests.
    pub fn finish(self) -> Vec<Group> {
        let Self {
            by_digest, items, ..
        } = self;
        let mut finished: Vec<_> = by_digest
            .into_iter()
            .map(|(digest, members)| Group {
                digest,
                selected: project(&items, &members),
            })
            .collect();
        finished.sort_unstable_by_key(|group| group.digest);
        finished
    }

    fn members(&self, values: Vec<Option<Value>>) -> Members {
        let states = self.aggregates.iter();
        Members {
            values,
            states: states.map(|(of, _)| State::new(*of)).collect(),
        }
    }

    /// Finds or makes the group of these values.
    fn group(&mut self, values: Vec<Option<Value>>) -> Result<GroupDigest, TooManyGroups> {
        let digest = GroupDigest::of(&values);
        if !self.by_digest.contains_key(&digest) {
            /// What a group costs beside its texts.
            const OVERHEAD: usize = 256;
            if self.by_digest.len() >= self.most {
                return Err(TooManyGroups);
            }
            let texts: usize = values.iter().flatten().map(digest::bytes_of).sum();
            let states = self.aggregates.len() * size_of::<State>();
            self.grow(OVERHEAD + texts + states)?;
            let members = self.members(values);
            self.by_digest.insert(digest, members);
        }
        Ok(digest)
    }

    fn grow(&mut self, bytes: usize) -> Result<(), TooManyGroups> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > self.max_bytes {
            return Err(TooManyGroups);
        }
        Ok(())
    }
}

impl Document for Members {
    fn find(&self, path: &Path) -> Found<'_> {
        match path.steps() {
            [Step::Name(root), Step::Index(at)] if root == VALUES => {
                let value = self.values.get(*at).and_then(Option::as_ref);
                value.map_or(Found::Undefined, Found::of)
            }
            [Step::Name(root), Step::Index(at)] if root == STATES => {
                self.states.get(*at).map_or(Found::Undefined, State::found)
            }
            _ => Found::Undefined,
        }
    }
}

/// `expr` with paths into [`Members`].
fn placed(expr: &Expr, group_by: &[Expr], aggregates: &mut Vec<(Aggregate, Option<Expr>)>) -> Expr {
    if let Some(at) = group_by.iter().position(|grouped| grouped == expr) {
        return Expr::Path(Path::internal(VALUES, at));
    }
    let mut part = |expr: &Expr| placed(expr, group_by, aggregates);
    let mut boxed = |expr: &Expr| Box::new(part(expr));
    match expr {
        Expr::Aggregate(of, argument) => {
            aggregates.push((*of, argument.as_deref().cloned()));
            Expr::Path(Path::internal(STATES, aggregates.len() - 1))
        }
        Expr::Literal(_) | Expr::Path(_) => expr.clone(),
        Expr::Call(function, parts) => Expr::Call(*function, parts.iter().map(part).collect()),
        Expr::And(parts) => Expr::And(parts.iter().map(part).collect()),
        Expr::Or(parts) => Expr::Or(parts.iter().map(part).collect()),
        Expr::Negative(inner) => Expr::Negative(boxed(inner)),
        Expr::Not(inner) => Expr::Not(boxed(inner)),
        Expr::In(inner, values) => Expr::In(boxed(inner), values.clone()),
        Expr::Math(math, left, right) => Expr::Math(*math, boxed(left), boxed(right)),
        Expr::Compare(comparison, left, right) => {
            Expr::Compare(*comparison, boxed(left), boxed(right))
        }
    }
}
