//! Rows counted, by indexes and columns alone where these can tell, else by reading documents.

use downlink_domain::query::{Field, Filter, GroupValue, Member, Scalar, Section, Source};
use downlink_ports::twin_queries::{Counting, holds};
use downlink_ports::{ScanRow, StoreError, Tallied, Tally, TwinQueryError};
use sqlx::postgres::PgRow;

use super::columns::{Grouped, grouped};
use super::members::{Stretch, of_source};
use super::row::{self, Parts};
use super::run::Queries;
use super::selection::{Pieces, Selection, Tables};
use super::text::{Parameter, Piece, Text};
use crate::fields::Fields;

pub(super) async fn tally(queries: &Queries, tally: &Tally) -> Result<Tallied, TwinQueryError> {
    // All of them are counted, in whatever order: any index is better than every document.
    let most = i64::MAX;
    let selection = super::select(queries, &tally.hub, &tally.filter, tally.source, most).await?;
    if let Some(counted) = by_index(queries, tally, &selection).await? {
        return Ok(counted);
    }
    by_rows(queries, tally, &selection).await
}

/// Counts without documents; `None` when these have to be read after all.
async fn by_index(
    queries: &Queries,
    tally: &Tally,
    selection: &Selection,
) -> Result<Option<Tallied>, TwinQueryError> {
    let mut text = Text::new();
    let pieces = selection.pieces(&tally.hub, &mut text);
    if !pieces.is_exact {
        return Ok(None);
    }
    if let ([Field::Member(member)], Filter::All) = (&tally.group_by[..], &tally.filter)
        && member.section == Section::Tags
    {
        let text = members_statement(text, &pieces, tally, member);
        return read_members(queries, tally, text).await;
    }
    let columns: Option<Vec<_>> = tally
        .group_by
        .iter()
        .map(|field| grouped(field, tally.source))
        .collect();
    match columns {
        Some(columns) => {
            let text = columns_statement(text, &pieces, selection, tally, &columns);
            read_columns(queries, tally, text, &columns).await
        }
        None => Ok(None),
    }
}

/// Whether there are twins that have to be looked at: a condition.
fn is_open(open: &[Stretch], hub: Parameter, source: Source, text: &mut Text) -> Piece {
    let each = open.iter().map(|stretch| {
        Piece::of("EXISTS (SELECT FROM twin_values AS v WHERE ")
            .and(&stretch.condition(hub, text))
            .then(of_source(source))
            .then(")")
    });
    let mut each: Vec<_> = each.collect();
    each.push(Piece::of("FALSE"));
    Piece::of("(").and(&Piece::joined(&each, " OR ")).then(")")
}

/// Counts what has the same in columns.
pub(super) fn columns_statement(
    mut text: Text,
    pieces: &Pieces,
    selection: &Selection,
    tally: &Tally,
    columns: &[Grouped],
) -> Text {
    let open = is_open(&selection.open(), pieces.hub, tally.source, &mut text);
    let most = text.parameter(i64::from(tally.max_groups) + 1, "bigint");
    let from = if pieces.condition.is_none() && columns.is_empty() {
        Piece::of(" FROM ").and(&pieces.all_keys()).then(" AS keys")
    } else {
        let fields = tally.group_by.iter().map(Parts::of_field);
        let parts = fields.fold(Parts::of_filter(&tally.filter), Parts::and);
        let tables = Tables {
            device_of_module: parts.identity,
            twin: parts.versions,
        };
        pieces.all_rows(tally.source, selection.is_walk(), tables)
    };
    let names: Vec<_> = columns.iter().map(Grouped::expression).collect();
    let mut counted = Piece::of("SELECT count(*) AS many");
    for (name, alias) in names.iter().zip(ALIASES) {
        counted = counted.then(", ").and(name).then(" AS ").then(alias);
    }
    let mut counted = counted.and(&from);
    if !columns.is_empty() {
        let places: Vec<_> = ALIASES[..columns.len()]
            .iter()
            .map(|a| Piece::of(a))
            .collect();
        counted = counted
            .then(" GROUP BY ")
            .and(&Piece::joined(&places, ", "))
            .then(" LIMIT ")
            .name(most);
    }
    let statement = Piece::of("SELECT ")
        .and(&open)
        .then(" AS is_open, counted.* FROM (SELECT) AS always LEFT JOIN (")
        .and(&counted)
        .then(") AS counted ON TRUE");
    text.with(statement)
}

/// Names of the columns that are grouped by; a tally has no more.
const ALIASES: [&str; 8] = [
    "common_1", "common_2", "common_3", "common_4", "common_5", "common_6", "common_7", "common_8",
];

async fn read_columns(
    queries: &Queries,
    tally: &Tally,
    text: Text,
    columns: &[Grouped],
) -> Result<Option<Tallied>, TwinQueryError> {
    let mut counting = Counting::new(tally);
    let (mut is_open, mut is_too_much) = (false, false);
    let mut on_row = |row: &PgRow| {
        let fields = Fields::new(row, "identities", "many");
        is_open = fields.get("is_open")?;
        let many: Option<i64> = fields.get("many")?;
        let Some(many) = many.and_then(|many| u64::try_from(many).ok()) else {
            return Ok(true);
        };
        let values: Result<Vec<_>, StoreError> = columns
            .iter()
            .zip(ALIASES)
            .map(|(column, alias)| column.read(fields, alias))
            .collect();
        is_too_much |= counting.group(values?, many).is_err();
        Ok(!is_open)
    };
    queries.each(text, &mut on_row).await?;
    Ok(match (is_open, is_too_much) {
        (true, _) => None,
        (false, true) => Some(Tallied::TooManyGroups),
        (false, false) => Some(counting.finish()),
    })
}

/// Counts what has the same in one member of tags: all that have it from its index, and how many
/// there are at all.
pub(super) fn members_statement(
    mut text: Text,
    pieces: &Pieces,
    tally: &Tally,
    member: &Member,
) -> Text {
    let open = [Stretch::opaque(), Stretch::long_texts(member)];
    let open = is_open(&open, pieces.hub, tally.source, &mut text);
    let path = text.parameter(super::members::path_text(member), "text");
    let most = text.parameter(i64::from(tally.max_groups) + 1, "bigint");
    let counted = Piece::of(
        "SELECT v.kind, v.number, v.text, count(*) AS many FROM twin_values AS v \
         WHERE v.place = twin_place(",
    )
    .name(pieces.hub)
    .then(", 'tags', ")
    .name(path)
    .then(")")
    .then(of_source(tally.source))
    .then(" GROUP BY v.kind, v.number, v.text LIMIT ")
    .name(most);
    let statement = Piece::of("SELECT ")
        .and(&open)
        .then(" AS is_open, (SELECT count(*) FROM ")
        .and(&pieces.all_keys())
        .then(" AS keys) AS total, counted.* FROM (SELECT) AS always LEFT JOIN (")
        .and(&counted)
        .then(") AS counted ON TRUE");
    text.with(statement)
}

async fn read_members(
    queries: &Queries,
    tally: &Tally,
    text: Text,
) -> Result<Option<Tallied>, TwinQueryError> {
    let mut counting = Counting::new(tally);
    let (mut is_open, mut is_too_much, mut left) = (false, false, 0);
    let mut is_first = true;
    let mut on_row = |row: &PgRow| {
        let fields = Fields::new(row, "twin_values", "many");
        is_open = fields.get("is_open")?;
        if is_first {
            left = fields.number::<u64>("total")?;
            is_first = false;
        }
        if fields.get::<Option<i64>>("many")?.is_some() {
            let many = fields.number("many")?;
            left = left.saturating_sub(many);
            is_too_much |= counting.group(vec![value(fields)?], many).is_err();
        }
        Ok(!is_open)
    };
    queries.each(text, &mut on_row).await?;
    is_too_much |= counting.group(vec![GroupValue::Undefined], left).is_err();
    Ok(match (is_open, is_too_much) {
        (true, _) => None,
        (false, true) => Some(Tallied::TooManyGroups),
        (false, false) => Some(counting.finish()),
    })
}

/// The value of a row of `twin_values`.
fn value(row: Fields<'_>) -> Result<GroupValue, StoreError> {
    let kind: i16 = row.get("kind")?;
    Ok(match kind {
        1 => GroupValue::Scalar(Scalar::Null),
        2 => GroupValue::Scalar(Scalar::Bool(false)),
        3 => GroupValue::Scalar(Scalar::Bool(true)),
        4 => GroupValue::Scalar(Scalar::Number(row.get("number")?)),
        5 => GroupValue::Scalar(Scalar::Text(row.get("text")?)),
        // Objects and arrays; a text that is too long sends the count another way.
        6..=8 => GroupValue::Composite,
        _ => return Err(row.corrupt("kind")),
    })
}

/// Counts by reading every row that the indexes leave.
async fn by_rows(
    queries: &Queries,
    tally: &Tally,
    selection: &Selection,
) -> Result<Tallied, TwinQueryError> {
    let mut parts = Parts::of_filter(&tally.filter);
    for field in &tally.group_by {
        parts = parts.and(Parts::of_field(field));
    }
    let text = rows_statement(tally, selection, parts);
    let mut counting = Counting::new(tally);
    let mut is_too_much = false;
    let mut scratch: ScanRow = row::blank(&tally.hub);
    let mut on_row = |row: &PgRow| {
        if parts.identity {
            scratch.device = row::identity(row, tally.source)?;
        }
        if parts.versions {
            row::versions(&mut scratch, row)?;
        }
        row::documents(&mut scratch, row, parts)?;
        if holds(&tally.filter, &scratch) {
            is_too_much = counting.row(&scratch).is_err();
        }
        Ok(!is_too_much)
    };
    queries.each(text, &mut on_row).await?;
    Ok(if is_too_much {
        Tallied::TooManyGroups
    } else {
        counting.finish()
    })
}

/// Every row that the indexes leave, with the parts that decide.
pub(super) fn rows_statement(tally: &Tally, selection: &Selection, parts: Parts) -> Text {
    let mut text = Text::new();
    let pieces = selection.pieces(&tally.hub, &mut text);
    let mut statement = Piece::of("SELECT ");
    statement = if parts.identity {
        statement.and(&row::identity_columns(tally.source))
    } else {
        statement.then("i.device_key")
    };
    if parts.versions {
        statement = statement.then(row::VERSIONS);
    }
    let tables = Tables {
        device_of_module: parts.identity,
        twin: parts.is_of_twin(),
    };
    let statement = statement.and(&parts.columns()).and(&pieces.all_rows(
        tally.source,
        selection.is_walk(),
        tables,
    ));
    text.with(statement)
}
