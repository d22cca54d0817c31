//! Queries (registry.md §5).

use serde_json::{Map, Value};
use utoipa::ToSchema;

/// A query.
#[derive(ToSchema)]
pub(in crate::https) struct Query {
    /// The text; `docs/query.md` has its grammar.
    #[schema(
        max_length = 8192,
        example = "SELECT deviceId, tags.site FROM devices WHERE is_defined(tags.site)"
    )]
    query: String,
}

/// A row of a result: a whole twin, or what was selected.
#[derive(ToSchema)]
pub(in crate::https) struct QueryRow(Map<String, Value>);
