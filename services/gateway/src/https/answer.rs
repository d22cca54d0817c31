//! Successes on the wire (registry.md §0.2).

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, LOCATION};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use serde_json::Value;

/// The content type of every body.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// The content type of server-sent events.
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

/// A success.
#[derive(Debug, Default)]
pub(super) struct Answer {
    body: Option<Bytes>,
    etag: Option<String>,
    is_unstored: bool,
    /// The status, where it is not the one that follows from the rest.
    status: Option<StatusCode>,
    /// Server-sent events in the place of a body.
    events: Option<Body>,
    /// Accepted: what was asked for goes on behind the answer.
    location: Option<String>,
    /// Further headers, of fixed names.
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    /// 204.
    pub(super) fn empty() -> Self {
        Self::default()
    }

    /// 200 with a JSON body.
    pub(super) fn json(body: &Value) -> Self {
        Self::text(body.to_string())
    }

    /// 200 with a body that is JSON text.
    pub(super) fn text(body: String) -> Self {
        Self {
            body: Some(Bytes::from(body)),
            ..Self::default()
        }
    }

    /// 200 with a body that is JSON text.
    pub(super) fn raw(body: Bytes) -> Self {
        Self {
            body: Some(body),
            ..Self::default()
        }
    }

    /// 200 with server-sent events.
    pub(super) fn events(events: Body) -> Self {
        Self {
            events: Some(events),
            is_unstored: true,
            ..Self::default()
        }
    }

    /// 202 without a body, and where to look.
    pub(super) fn accepted(location: String) -> Self {
        Self {
            location: Some(location),
            ..Self::default()
        }
    }

    /// Puts another status in the place of the usual one.
    #[must_use]
    pub(super) fn with_status(self, status: StatusCode) -> Self {
        Self {
            status: Some(status),
            ..self
        }
    }

    /// Adds a header.
    #[must_use]
    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Adds an `ETag` header, quoted.
    #[must_use]
    pub(super) fn with_etag(mut self, etag: &dyn std::fmt::Display) -> Self {
        self.etag = Some(format!("\"{etag}\""));
        self
    }

    /// Tells whatever carries the answer that it is to keep no copy.
    #[must_use]
    pub(super) fn unstored(mut self) -> Self {
        self.is_unstored = true;
        self
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let location = self
            .location
            .and_then(|location| HeaderValue::try_from(location).ok());
        let (status, kind, body) = match (self.events, self.body, &location) {
            (Some(events), _, _) => (StatusCode::OK, Some(EVENTS), events),
            (None, Some(body), _) => (StatusCode::OK, Some(JSON), Body::from(body)),
            (None, None, Some(_)) => (StatusCode::ACCEPTED, None, Body::empty()),
            (None, None, None) => (StatusCode::NO_CONTENT, None, Body::empty()),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status.unwrap_or(status);
        let headers = response.headers_mut();
        headers.extend(self.headers);
        if let Some(kind) = kind {
            headers.insert(CONTENT_TYPE, kind);
        }
        if let Some(location) = location {
            headers.insert(LOCATION, location);
        }
        let etag = self.etag.and_then(|etag| HeaderValue::try_from(etag).ok());
        if let Some(etag) = etag {
            response.headers_mut().insert(ETAG, etag);
        }
        if self.is_unstored {
            let no_store = HeaderValue::from_static("no-store");
            response.headers_mut().insert(CACHE_CONTROL, no_store);
        }
        response
    }
}
