//! Rows read in the order of their keys.

use downlink_domain::id::DeviceKey;
use downlink_domain::query::Source;
use downlink_ports::twin_queries::holds;
use downlink_ports::{Scan, ScanPage, ScanRow, StoreError, TwinQueryError};
use sqlx::postgres::PgRow;

use super::row::{self, Parts};
use super::run::Queries;
use super::selection::{IDENTITY, Pieces, Selection, TWIN, device_of_module};
use super::text::{Piece, Text};
use crate::fields::Fields;

/// Most candidates that one scan looks at before it answers with what it has.
const MAX_EXAMINED: u32 = 10_000;
/// Rows that one statement brings when their documents decide, at least and at most.
const CHUNK: (u32, u32) = (200, 2_000);

/// What one statement brought.
struct Chunk {
    rows: Vec<ScanRow>,
    /// Every candidate up to this key has been looked at; `None` when there was none.
    up_to: Option<DeviceKey>,
    /// Whether there are no candidates beyond it.
    is_end: bool,
    examined: u32,
}

pub(super) async fn scan(queries: &Queries, scan: &Scan) -> Result<ScanPage, TwinQueryError> {
    let selection =
        super::select(queries, &scan.hub, &scan.filter, scan.source, super::FEW).await?;
    // One more than is wanted tells whether there are more.
    let wanted = scan.limit.max(1) as usize;
    let mut found: Vec<ScanRow> = Vec::new();
    let mut after = scan.after;
    let mut examined = 0;
    loop {
        let missing = u32::try_from(wanted + 1 - found.len()).unwrap_or(u32::MAX);
        let chunk = read(queries, scan, &selection, after, missing).await?;
        found.extend(chunk.rows);
        examined += chunk.examined;
        if found.len() > wanted {
            found.truncate(wanted);
            let next = found.last().map(|row| row.device.key);
            return Ok(ScanPage { rows: found, next });
        }
        if chunk.is_end {
            return Ok(ScanPage {
                rows: found,
                next: None,
            });
        }
        after = chunk.up_to.or(after);
        if examined >= MAX_EXAMINED {
            return Ok(ScanPage {
                rows: found,
                next: after,
            });
        }
    }
}

/// Looks at candidates after a key until about `missing` rows are found or the statement has done
/// its share.
async fn read(
    queries: &Queries,
    scan: &Scan,
    selection: &Selection,
    after: Option<DeviceKey>,
    missing: u32,
) -> Result<Chunk, TwinQueryError> {
    let mut text = Text::new();
    let pieces = selection.pieces(&scan.hub, &mut text);
    let most_rows = if pieces.is_exact {
        missing
    } else {
        missing.saturating_mul(4).clamp(CHUNK.0, CHUNK.1)
    };
    let candidates = MAX_EXAMINED.max(missing);
    let text = statement(text, &pieces, scan, after, [candidates, most_rows]);
    let parts = Parts::of_filter(&scan.filter);
    let mut chunk = Chunk {
        rows: Vec::new(),
        up_to: None,
        is_end: true,
        examined: 0,
    };
    let mut last_row = None;
    let mut on_row = |row: &PgRow| {
        let reach = Fields::new(row, "identities", "last");
        let many: i64 = reach.get("many")?;
        chunk.up_to = reach.get::<Option<i64>>("last")?.map(DeviceKey);
        chunk.is_end = many < i64::from(candidates);
        if reach.get::<Option<i64>>("device_key")?.is_none() {
            chunk.examined = u32::try_from(many).unwrap_or(u32::MAX);
            return Ok(true);
        }
        chunk.examined += 1;
        let found = read_row(row, scan, parts)?;
        last_row = last_row.max(Some(found.0));
        chunk.rows.extend(found.1);
        Ok(true)
    };
    queries.each(text, &mut on_row).await?;
    if let Some(last) = last_row
        && chunk.examined >= most_rows
    {
        chunk.up_to = Some(last);
        chunk.is_end = false;
    }
    chunk.rows.sort_by_key(|row| row.device.key.0);
    Ok(chunk)
}

/// The key of a row, and the row if the filter holds for it.
fn read_row(
    row: &PgRow,
    scan: &Scan,
    parts: Parts,
) -> Result<(DeviceKey, Option<ScanRow>), StoreError> {
    let mut found = row::blank(&scan.hub);
    found.device = row::identity(row, scan.source)?;
    let key = found.device.key;
    row::versions(&mut found, row)?;
    row::documents(&mut found, row, parts)?;
    if !holds(&scan.filter, &found) {
        return Ok((key, None));
    }
    let needs = scan.needs;
    let others = Parts {
        tags: needs.tags && !parts.tags,
        desired: needs.desired && !parts.desired,
        reported: needs.reported && !parts.reported,
        configurations: needs.configurations && !parts.configurations,
        ..Parts::default()
    };
    row::documents(&mut found, row, others)?;
    let fields = Fields::new(row, "twins", "device_key");
    if needs.desired {
        found.twin.desired.metadata = fields.json("desired_metadata")?;
    }
    if needs.reported {
        found.twin.reported.metadata = fields.json("reported_metadata")?;
    }
    if needs.waiting {
        found.waiting = Some(fields.number("waiting")?);
    }
    Ok((key, Some(found)))
}

/// One row at least: how far the candidates reach, beside the rows that the database lets through.
/// Both are of one snapshot, so nothing comes between them.
pub(super) fn statement(
    mut text: Text,
    pieces: &Pieces,
    scan: &Scan,
    after: Option<DeviceKey>,
    [candidates, most_rows]: [u32; 2],
) -> Text {
    let after = text.parameter(after.map_or(i64::MIN, |key| key.0), "bigint");
    let candidates = text.parameter(i64::from(candidates), "bigint");
    let most_rows = text.parameter(i64::from(most_rows), "bigint");
    let keys = pieces.first_keys(after, candidates);
    let parts = Parts::of_filter(&scan.filter).and(Parts {
        tags: scan.needs.tags,
        desired: scan.needs.desired,
        reported: scan.needs.reported,
        configurations: scan.needs.configurations,
        ..Parts::default()
    });
    let waiting = match (scan.needs.waiting, scan.source) {
        (false, _) => Piece::default(),
        (true, Source::Modules) => Piece::of(", 0::bigint AS waiting"),
        (true, Source::Devices) => {
            let now = text.parameter(scan.now.as_millis(), "bigint");
            Piece::of(
                ", (SELECT count(*) FROM messages AS m \
                 WHERE m.device_key = i.device_key AND m.expiry > ",
            )
            .name(now)
            .then(") AS waiting")
        }
    };
    let mut page = Piece::of("SELECT ")
        .and(&row::identity_columns(scan.source))
        .then(row::VERSIONS)
        .and(&parts.columns())
        .and(&row::metadata_columns(scan.needs))
        .and(&waiting)
        .then(" FROM ")
        .and(&keys)
        .then(" AS keys")
        .then(IDENTITY)
        .then(device_of_module(scan.source))
        .then(TWIN);
    if let Some(condition) = &pieces.condition {
        page = page.then(" WHERE ").and(condition);
    }
    page = page
        .then(" ORDER BY keys.device_key LIMIT ")
        .name(most_rows);
    let reach = Piece::of("SELECT max(keys.device_key) AS last, count(*) AS many FROM ")
        .and(&keys)
        .then(" AS keys");
    let statement = Piece::of("SELECT reach.last, reach.many, page.* FROM (")
        .and(&reach)
        .then(") AS reach LEFT JOIN LATERAL (")
        .and(&page)
        .then(") AS page ON TRUE");
    text.with(statement)
}
