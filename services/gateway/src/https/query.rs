//! Queries over all twins of the hub (registry.md §5).

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use downlink_ports::{MAX_CONTINUATION, MAX_PAGE_ROWS, QueryCall, QueryPage};

use super::answer::Answer;
use super::error::ApiError;
use super::openapi::schema::query::{Query, QueryRow};
use super::request::{parse_object, text_member};
use crate::shared::Shared;

/// Rows of a page for a client that does not say how many it wants.
const DEFAULT_ROWS: u32 = 100;
/// How many rows are wanted at most.
const MAX_ITEM_COUNT: &str = "x-ms-max-item-count";
/// Where a result goes on.
const CONTINUATION: HeaderName = HeaderName::from_static("x-ms-continuation");
/// What the rows are.
const ITEM_TYPE: HeaderName = HeaderName::from_static("x-ms-item-type");

/// Answers a query over the twins of the hub, a page at a time.
#[utoipa::path(
    post,
    path = "/devices/query",
    tag = "twins",
    operation_id = "query",
    params(
        ("x-ms-max-item-count" = Option<u32>, Header, description = "How many rows at most, 1 to 1000; 100 without it."),
        ("x-ms-continuation" = Option<String>, Header, description = "What the page before had in the same header."),
    ),
    request_body = Query,
    responses((
        status = 200,
        description = "A page of the result: whole twins, or what the query selects of them.",
        body = Vec<QueryRow>,
        headers(
            ("x-ms-item-type" = String, description = "`Twin`, `DeviceJob` or `Raw`."),
            ("x-ms-continuation" = String, description = "Asks for the next page; not there on the last one."),
        ),
    )),
)]
pub(super) async fn ask(
    shared: &Shared,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<QueryPage, ApiError> {
    let body = parse_object(body)?;
    let text = text_member(&body, "query")?;
    let text = text.ok_or_else(|| ApiError::invalid(&"the body has no query"))?;
    let call = QueryCall {
        hub: shared.options.hub.clone(),
        text: text.to_owned(),
        page_size: page_size(headers)?,
        continuation: continuation(headers)?,
    };
    Ok(shared.peers.queries.query(call).await?)
}

fn page_size(headers: &HeaderMap) -> Result<u32, ApiError> {
    let Some(value) = headers.get(MAX_ITEM_COUNT) else {
        return Ok(DEFAULT_ROWS);
    };
    let text = value.to_str().unwrap_or_default().trim();
    if text.is_empty() {
        return Ok(DEFAULT_ROWS);
    }
    let count = text.parse().ok();
    let count = count.filter(|count| (1..=MAX_PAGE_ROWS).contains(count));
    count.ok_or_else(|| ApiError::invalid(&"x-ms-max-item-count must be 1 to 1000"))
}

/// The continuation; an empty one is none (registry.md §5.1).
fn continuation(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(&CONTINUATION) else {
        return Ok(None);
    };
    let text = value.to_str().ok().map(str::trim);
    let text = text.filter(|text| text.len() <= MAX_CONTINUATION);
    let text = text
        .ok_or_else(|| ApiError::invalid(&"the continuation is not one that this hub has given"))?;
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

/// Answers with a page.
pub(super) fn answer(page: QueryPage) -> Answer {
    let item_type = HeaderValue::from_static(page.item_type.as_str());
    let answer = Answer::raw(array(&page.items)).with_header(ITEM_TYPE, item_type);
    let continuation = page
        .continuation
        .and_then(|text| HeaderValue::try_from(text).ok());
    match continuation {
        Some(continuation) => answer.with_header(CONTINUATION, continuation),
        None => answer,
    }
}

/// Rows, each JSON text, as a JSON array.
fn array(rows: &[Bytes]) -> Bytes {
    let length: usize = rows.iter().map(|row| row.len() + 1).sum();
    let mut array = Vec::with_capacity(length + 2);
    array.push(b'[');
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            array.push(b',');
        }
        array.extend_from_slice(row);
    }
    array.push(b']');
    array.into()
}
