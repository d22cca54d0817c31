//! The query language of the service (registry.md §5), without I/O: text in, a plan and an
//! evaluator out.
//!
//! * [`Query::parse`] reads a whole query, [`Condition::parse`] a condition alone, as jobs and
//!   configurations have one. Errors name the character where reading stopped.
//! * [`plan`] makes of a condition the strongest filter that a store answers and never loses a
//!   row by it; it says whether the filter alone is exact.
//! * What a filter cannot say, [`Condition::matches`] decides over a row; so there is one meaning
//!   of a query, whatever the store.
//!
//! The parser is written by hand: recursion is bounded ([`MAX_DEPTH`]) and the text of every error
//! is the language's own, neither of which parser libraries give for expressions with precedence.
//!
//! ```
//! use downlink_query::Query;
//! let query = Query::parse("SELECT deviceId FROM devices WHERE tags.site = 'zrh'").expect("a query");
//! assert!(query.plan().is_exact);
//! let error = Query::parse("SELECT deviceId FRO devices").expect_err("no query");
//! assert_eq!(error.position, 17);
//! ```

mod aggregate;
mod ast;
mod condition;
pub mod document;
mod error;
mod evaluate;
mod functions;
mod needs;
mod parse;
mod path;
mod plan;
mod project;
#[cfg(test)]
mod tests;
mod token;
mod value;

pub use aggregate::{Group, GroupDigest, Groups, TooManyGroups};
pub use ast::{Aggregate, Expr, Item, Literal, Math, Query, Select, Source};
pub use condition::Condition;
pub use error::SyntaxError;
pub use evaluate::{Document, holds};
pub use functions::Function;
pub use path::{Path, Step};
pub use plan::{Plan, plan, text_equalities};
pub use token::shape;
pub use value::Found;

/// Longest text of a query, in characters (registry.md §5.1).
pub const MAX_TEXT: usize = 8192;
/// Most levels of an expression within each other.
pub const MAX_DEPTH: usize = 64;
/// Most operations of arithmetic in a query. Each may make its tree one level deeper, whatever the parentheses.
pub const MAX_OPERATIONS: usize = 256;
/// Most items of a SELECT.
pub const MAX_ITEMS: usize = 64;
/// Most expressions of a GROUP BY.
pub const MAX_GROUP_BY: usize = 8;
