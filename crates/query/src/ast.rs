//! A query as it was read.

use downlink_domain::query::Comparison;

use crate::functions::Function;
use crate::path::Path;

/// What rows a query is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Twins of devices.
    Devices,
    /// Twins of modules.
    Modules,
    /// What jobs did on devices (registry.md §5.3).
    Jobs,
}

/// A whole query.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Rows of what.
    pub source: Source,
    /// What is wanted of them.
    pub select: Select,
    /// Most rows of the whole result, over all its pages.
    pub top: Option<u64>,
    /// Which rows; all when there is none.
    pub condition: Option<Expr>,
    /// What the rows of a group have in common; at most [`crate::MAX_GROUP_BY`].
    pub group_by: Vec<Expr>,
}

/// What is wanted of the rows.
#[derive(Clone, Debug, PartialEq)]
pub enum Select {
    /// All of them.
    All,
    /// Some values of them; 1 to [`crate::MAX_ITEMS`], no two of one name.
    Items(Vec<Item>),
}

/// A value that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The value.
    pub expr: Expr,
    /// The member that it becomes.
    pub name: String,
}

/// An expression. No deeper than [`crate::MAX_DEPTH`] and [`crate::MAX_OPERATIONS`] together.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// A value that is written down.
    Literal(Literal),
    /// A member of the row.
    Path(Path),
    /// A call of a function with as many arguments as it takes.
    Call(Function, Vec<Expr>),
    /// `-x`
    Negative(Box<Expr>),
    /// Two numbers make one.
    Math(Math, Box<Expr>, Box<Expr>),
    /// Two values are compared.
    Compare(Comparison, Box<Expr>, Box<Expr>),
    /// `x IN [...]`; `NIN` is its negation. At least one value.
    In(Box<Expr>, Vec<Literal>),
    /// True when all are, false when one is; at least two.
    And(Vec<Expr>),
    /// True when one is, false when all are; at least two.
    Or(Vec<Expr>),
    /// True when it is false and the other way round.
    Not(Box<Expr>),
    /// A value over all rows of a group, in SELECT alone; `None` for `COUNT()`.
    Aggregate(Aggregate, Option<Box<Expr>>),
}

/// A value that is written down.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// `undefined`
    Undefined,
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// A finite number.
    Number(f64),
    /// Text.
    Text(String),
}

/// An operation on two numbers; anything else than two numbers, or a result that is none, is
/// undefined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Math {
    /// `+`
    Add,
    /// `-`
    Subtract,
    /// `*`
    Multiply,
    /// `/`
    Divide,
    /// `%`, with the sign of the left side.
    Remainder,
}

/// An operation over all rows of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aggregate {
    /// How many rows; with an argument: how many rows where it is defined.
    Count,
    /// Sum of the numbers among the values.
    Sum,
    /// Their mean, undefined when there is none.
    Avg,
    /// The smallest primitive value: null before booleans, numbers and text.
    Min,
    /// The largest primitive value.
    Max,
}

impl Aggregate {
    /// Reads a name in any case.
    pub fn parse(word: &str) -> Option<Self> {
        let all = [
            ("COUNT", Self::Count),
            ("SUM", Self::Sum),
            ("AVG", Self::Avg),
            ("MIN", Self::Min),
            ("MAX", Self::Max),
        ];
        let found = all.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
        found.map(|(_, aggregate)| *aggregate)
    }
}

impl Expr {
    /// Calls `see` with this expression and each within it.
    pub(crate) fn walk<'a>(&'a self, see: &mut dyn FnMut(&'a Expr)) {
        see(self);
        for part in self.parts() {
            part.walk(see);
        }
    }

    /// The expressions directly within this one.
    pub(crate) fn parts(&self) -> Vec<&Expr> {
        match self {
            Self::Literal(_) | Self::Path(_) | Self::Aggregate(_, None) => Vec::new(),
            Self::Call(_, parts) | Self::And(parts) | Self::Or(parts) => parts.iter().collect(),
            Self::Negative(part)
            | Self::In(part, _)
            | Self::Not(part)
            | Self::Aggregate(_, Some(part)) => vec![part],
            Self::Math(_, left, right) | Self::Compare(_, left, right) => vec![left, right],
        }
    }

    /// Every path in it.
    pub(crate) fn paths(&self) -> Vec<&Path> {
        let mut paths = Vec::new();
        self.walk(&mut |expr| {
            if let Self::Path(path) = expr {
                paths.push(path);
            }
        });
        paths
    }

    /// Tells whether its value depends on a group of rows.
    pub(crate) fn has_aggregate(&self) -> bool {
        let mut found = false;
        self.walk(&mut |expr| found |= matches!(expr, Self::Aggregate(..)));
        found
    }
}

impl Query {
    /// Tells whether it answers groups of rows rather than rows.
    pub fn is_grouped(&self) -> bool {
        let items = match &self.select {
            Select::All => return false,
            Select::Items(items) => items,
        };
        !self.group_by.is_empty() || items.iter().any(|item| item.expr.has_aggregate())
    }
}
