//! Successes on the wire (registry.md §0.2).

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use axum::http::{HeaderValue, Response, StatusCode};
use bytes::Bytes;
use serde_json::Value;

/// The content type of every body.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// A success.
#[derive(Debug, Default)]
pub(super) struct Answer {
    body: Option<Bytes>,
    etag: Option<String>,
    is_unstored: bool,
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
        let (status, body) = match self.body {
            None => (StatusCode::NO_CONTENT, Body::empty()),
            Some(body) => (StatusCode::OK, Body::from(body)),
        };
        let mut response = Response::new(body);
        *response.status_mut() = status;
        if status == StatusCode::OK {
            response.headers_mut().insert(CONTENT_TYPE, JSON);
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
