//! Queries (registry.md §5).

use utoipa::ToSchema;

/// A query.
#[derive(ToSchema)]
pub(in crate::https) struct Query {
    /// The text; `docs/query.md` has its grammar.
    #[schema(max_length = 8192, example = "SELECT deviceId, tags.site FROM devices WHERE is_defined(tags.site)")]
    query: String,
}
