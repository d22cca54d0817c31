//! What a request says besides its path.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, EXPECT, IF_MATCH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Uri, Version};
use bytes::Bytes;
use downlink_domain::ErrorCode;
use downlink_domain::device::IfMatch;
use downlink_domain::twin::{Object, parse_json};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use tokio::time::timeout;

use super::error::ApiError;
use crate::options::HttpsOptions;

/// Versions of the contract that back-ends may name (registry.md §0.1): what it lists, and what
/// older releases of the same SDKs send for the same calls.
pub(super) const API_VERSIONS: [&str; 10] = [
    "2016-11-14",
    "2018-04-01",
    "2018-06-30",
    "2019-10-01",
    "2020-03-13",
    "2020-05-31-preview",
    "2020-09-30",
    "2021-04-12",
    "2021-11-11-preview",
    "2024-03-31",
];

/// Most bytes of a refused body that are read for the sake of the connection.
const MAX_DISCARDED_BYTES: usize = 8 * 1024 * 1024;
/// Longest time such reading may take.
const DISCARD_DEADLINE: Duration = Duration::from_secs(5);

/// How a client whose HTTP library knows no PATCH asks for one: the Java service SDK, for twins.
const METHOD_OVERRIDE: &str = "x-http-method-override";

/// The method that the client means.
pub(super) fn method(parts: &Parts) -> &Method {
    let wanted = parts.headers.get(METHOD_OVERRIDE);
    let is_patch = wanted.is_some_and(|wanted| wanted.as_bytes().eq_ignore_ascii_case(b"PATCH"));
    if is_patch && parts.method == Method::POST {
        &Method::PATCH
    } else {
        &parts.method
    }
}

/// Checks `api-version`.
pub(super) fn check_version(uri: &Uri) -> Result<(), ApiError> {
    let version = find_query(uri, "api-version");
    let is_known = version.as_deref().is_some_and(|version| {
        API_VERSIONS
            .iter()
            .any(|known| known.eq_ignore_ascii_case(version))
    });
    if is_known {
        Ok(())
    } else {
        Err(ApiError::new(
            ErrorCode::InvalidProtocolVersion,
            "the query must name an api-version that the hub knows",
        ))
    }
}

/// The decoded value of the first query pair of that name.
pub(super) fn find_query(uri: &Uri, name: &str) -> Option<String> {
    uri.query()?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let is_it = key.eq_ignore_ascii_case(name);
        is_it.then(|| percent_decode_str(value).decode_utf8_lossy().into_owned())
    })
}

/// The credential, empty when there is none.
pub(crate) fn credential(headers: &HeaderMap) -> &str {
    let value = headers.get(AUTHORIZATION);
    value
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
}

/// The condition of a write, in any of its forms (registry.md §0.3).
pub(super) fn if_match(headers: &HeaderMap) -> Result<IfMatch, ApiError> {
    let Some(value) = headers.get(IF_MATCH) else {
        return Ok(IfMatch::Absent);
    };
    let text = value
        .to_str()
        .map_err(|_| ApiError::invalid(&"the If-Match header is not text"))?;
    let text = text.trim();
    let bare = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    Ok(match bare {
        "" => IfMatch::Absent,
        "*" => IfMatch::Any,
        etag => IfMatch::Etag(etag.to_owned()),
    })
}

/// Reads a body of at most `most` bytes within its deadline; one that announces more is not read at all.
pub(super) async fn read_body_within(
    headers: &HeaderMap,
    body: &mut Body,
    most: usize,
    options: &HttpsOptions,
) -> Result<Bytes, ApiError> {
    let most = most.min(options.max_body_bytes);
    let too_large = || {
        ApiError::new(
            ErrorCode::MessageTooLarge,
            format!("the body has more than {most} bytes"),
        )
    };
    if announced_bytes(headers).is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let reading = Limited::new(body, most).collect();
    match timeout(options.body_deadline, reading).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(ApiError::new(
            ErrorCode::GenericBadRequest,
            "the body ended before its end",
        )),
        Err(_) => Err(ApiError::new(
            ErrorCode::GenericBadRequest,
            "the body did not come in time",
        )),
    }
}

fn announced_bytes(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads what nobody has read of a body and drops it. Answers whether the connection can go on
/// after the answer; if not, the answer must say so, or the next request is sent into the void.
///
/// A peer that is still sending when its connection is closed may never see the answer, so a body
/// within [`MAX_DISCARDED_BYTES`] is taken before it is refused. HTTP/2 ends a stream by itself.
pub(super) async fn discard_rest(parts: &Parts, body: &mut Body) -> bool {
    if parts.version >= Version::HTTP_2 || body.is_end_stream() {
        return true;
    }
    // A peer that waits for a word before it sends would take the reading for that word.
    let is_waiting = parts.headers.contains_key(EXPECT);
    let is_long =
        announced_bytes(&parts.headers).is_some_and(|length| length > MAX_DISCARDED_BYTES);
    if is_waiting || is_long {
        return false;
    }
    let reading = async {
        let mut read = 0_usize;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return false };
            read = read.saturating_add(frame.data_ref().map_or(0, Bytes::len));
            if read > MAX_DISCARDED_BYTES {
                return false;
            }
        }
        true
    };
    timeout(DISCARD_DEADLINE, reading).await.unwrap_or(false)
}

/// Reads a body that is a JSON object.
pub(super) fn parse_object(body: &[u8]) -> Result<Object, ApiError> {
    match parse_json(body)? {
        Value::Object(object) => Ok(object),
        _ => Err(ApiError::invalid(&"the body must be a JSON object")),
    }
}

/// The member of that name; `null` is as good as none.
pub(super) fn member<'a>(object: &'a Object, name: &str) -> Option<&'a Value> {
    object.get(name).filter(|value| !value.is_null())
}

/// The member of that name, which must be an object.
pub(super) fn object_member<'a>(
    object: &'a Object,
    name: &str,
) -> Result<Option<&'a Object>, ApiError> {
    match member(object, name) {
        None => Ok(None),
        Some(Value::Object(inner)) => Ok(Some(inner)),
        Some(_) => Err(ApiError::invalid(&format_args!("{name} must be an object"))),
    }
}

/// The member of that name, which must be a string.
pub(super) fn text_member<'a>(object: &'a Object, name: &str) -> Result<Option<&'a str>, ApiError> {
    match member(object, name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ApiError::invalid(&format_args!("{name} must be a string"))),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn every_form_of_if_match_is_read() {
        for (sent, meant) in [
            ("*", IfMatch::Any),
            ("\"*\"", IfMatch::Any),
            ("\"\"", IfMatch::Absent),
            ("", IfMatch::Absent),
            (" \"MQ==\" ", IfMatch::Etag("MQ==".into())),
            ("MQ==", IfMatch::Etag("MQ==".into())),
        ] {
            let headers = HeaderMap::from_iter([(IF_MATCH, HeaderValue::from_static(sent))]);
            assert_eq!(if_match(&headers), Ok(meant), "{sent:?}");
        }
        assert_eq!(if_match(&HeaderMap::new()), Ok(IfMatch::Absent));
    }

    #[test]
    fn the_version_is_required_and_known() {
        let check = |uri: &'static str| check_version(&Uri::from_static(uri));
        for uri in [
            "/devices?api-version=2021-04-12",
            "/devices/?top=5&api-version=2021-04-12",
            "/devices?Api-Version=2020-05-31-PREVIEW",
        ] {
            assert_eq!(check(uri), Ok(()), "{uri}");
        }
        for uri in [
            "/devices",
            "/devices?api-version=",
            "/devices?api-version=1999-01-01",
        ] {
            let code = check(uri).map_err(|error| error.code);
            assert_eq!(code, Err(ErrorCode::InvalidProtocolVersion), "{uri}");
        }
    }
}
