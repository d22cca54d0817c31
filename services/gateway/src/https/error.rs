//! Failures on the wire (errors-limits.md §1).

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use downlink_domain::ErrorCode;
use downlink_domain::method::MethodError;
use downlink_domain::twin::JsonError;
use downlink_ports::{PeerError, StoreError};
use serde_json::{Value, json};

use super::answer::JSON;
use crate::authenticate::{Denied, Refusal, RefusalKind};
use crate::limits::Throttled;
use crate::tracking::Tracking;

/// Longest path of a refused request that is logged, in bytes.
const MAX_LOGGED_PATH_BYTES: usize = 300;

/// Which body a failure has. It belongs to the endpoint, but for codes that are flat everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Shape A.
    Classic,
    /// Shape B, of conflicts among modules.
    Flat,
    /// Shape C, of direct methods.
    Nested,
}

/// A failure: its code, and a text for the caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    pub(crate) code: ErrorCode,
    text: String,
    /// Whether the caller may come again with a token of an issuer.
    is_challenge: bool,
    /// A word that tells causes apart which share the code.
    cause: Option<&'static str>,
    /// Seconds after which it may be tried again, where that is known.
    retry_after: Option<u64>,
}

/// Where the cause of a failure stands, beside its code: a header of HTTP, an entry of gRPC's metadata.
pub(crate) const CAUSE: &str = "downlink-cause";

/// Seconds that a caller should wait after 429 and 503. The SDKs do not look at it; others do.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

impl ApiError {
    pub(crate) fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            is_challenge: false,
            cause: None,
            retry_after: None,
        }
    }

    /// A field outside its rules.
    pub(crate) fn invalid(text: &dyn std::fmt::Display) -> Self {
        Self::new(ErrorCode::ArgumentInvalid, text.to_string())
    }

    /// A body that is not JSON.
    pub(crate) fn unreadable() -> Self {
        JsonError::Malformed.into()
    }

    /// A peer that took too long; what became of the request is unknown.
    pub(crate) fn deadline() -> Self {
        Self::new(
            ErrorCode::ServiceUnavailable,
            "the hub did not finish in time and what became of the request is unknown",
        )
    }

    /// Adds a word that tells causes apart which share the code, of `a-z` and `-`.
    #[must_use]
    pub(crate) fn because(self, cause: &'static str) -> Self {
        Self {
            cause: Some(cause),
            ..self
        }
    }

    /// The word beside the code.
    pub(crate) fn cause(&self) -> Option<&'static str> {
        self.cause
    }

    /// The text for the caller.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn into_response(self, shape: Shape, tracking: &Tracking) -> Response<Body> {
        let body = match self.shape_at(shape) {
            Shape::Classic => self.classic(tracking),
            Shape::Flat => self.flat(tracking),
            Shape::Nested => self.nested(tracking),
        };
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = StatusCode::from_u16(self.code.http_status())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, JSON);
        headers.insert(
            HeaderName::from_static("iothub-errorcode"),
            HeaderValue::from_static(self.code.name()),
        );
        if let Some(cause) = self.cause {
            headers.insert(
                HeaderName::from_static(CAUSE),
                HeaderValue::from_static(cause),
            );
        }
        if matches!(self.code.http_status(), 429 | 503) {
            let known = self.retry_after.map(HeaderValue::from);
            headers.insert(RETRY_AFTER, known.unwrap_or(RETRY_AFTER_SECONDS));
        }
        if self.is_challenge {
            // auth.md §6.4.
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    /// The shape of this failure at an endpoint whose failures have `shape`.
    fn shape_at(&self, shape: Shape) -> Shape {
        if self.code.is_flat() {
            Shape::Flat
        } else {
            shape
        }
    }

    /// Writes the line of the log that the tracking id of the body leads to: a warning where it is the hub that failed.
    /// Of the request it names method and path alone; credentials and bodies never.
    pub(super) fn log(&self, tracking: &Tracking, parts: &Parts) {
        let path = parts.uri.path();
        let path = &path[..path.floor_char_boundary(MAX_LOGGED_PATH_BYTES)];
        let (status, code) = (self.code.http_status(), self.code.name());
        let method = parts.method.as_str();
        if status >= 500 {
            let error = self.text.as_str();
            tracing::warn!(
                tracking.id,
                code,
                status,
                method,
                ?path,
                error,
                "a request failed"
            );
        } else {
            tracing::info!(
                tracking.id,
                code,
                status,
                method,
                ?path,
                "a request was refused"
            );
        }
    }

    fn classic(&self, tracking: &Tracking) -> Value {
        // Clients split at the semicolon and show one part.
        let text = self.text.replace(';', ",");
        json!({
            "Message": format!("ErrorCode:{};{text}", self.code.name()),
            "ExceptionMessage": format!("Tracking ID:{tracking}"),
        })
    }

    /// `info` is null because clients take nothing there but that and text (errors-limits.md §1.1).
    fn flat(&self, tracking: &Tracking) -> Value {
        json!({
            "errorCode": self.code.number(),
            "trackingId": tracking.to_string(),
            "message": self.text,
            "info": Value::Null,
            "timestampUtc": tracking.at.to_string(),
        })
    }

    /// `ExceptionMessage` is empty because clients glue and parse the two (methods.md §2.3).
    fn nested(&self, tracking: &Tracking) -> Value {
        json!({ "Message": self.flat(tracking).to_string(), "ExceptionMessage": "" })
    }
}

impl From<PeerError> for ApiError {
    fn from(error: PeerError) -> Self {
        Self::new(error.code(), error.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        PeerError::from(error).into()
    }
}

impl From<MethodError> for ApiError {
    fn from(error: MethodError) -> Self {
        Self::new(error.code(), error.to_string()).because(error.cause())
    }
}

impl From<JsonError> for ApiError {
    fn from(error: JsonError) -> Self {
        Self::new(ErrorCode::IotHubFormatError, error.to_string())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match (refusal.kind(), refusal.peer_error()) {
            (RefusalKind::Unavailable, Some(error)) => error.clone().into(),
            (RefusalKind::Unavailable, None) => Self::deadline(),
            (RefusalKind::Unauthorized | RefusalKind::Disabled, _) => Self {
                is_challenge: true,
                ..Self::new(ErrorCode::IotHubUnauthorized, "unauthorized")
            },
        }
    }
}

impl From<Throttled> for ApiError {
    fn from(throttled: Throttled) -> Self {
        let retry_after = Some(throttled.seconds());
        Self {
            retry_after,
            cause: Some(MethodError::Throttled.cause()),
            ..Self::new(throttled.code(), throttled.to_string())
        }
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        Self::new(denied.code(), denied.to_string())
    }
}

#[cfg(test)]
mod tests {
    use downlink_domain::Timestamp;

    use super::*;

    fn tracking() -> Tracking {
        Tracking {
            id: "0123456789abcdef0123456789abcdef".to_owned(),
            gateway: 5,
            at: Timestamp::from_millis(1_767_604_351_412),
        }
    }

    #[test]
    fn the_classic_shape_is_the_recorded_one() {
        let error = ApiError::new(ErrorCode::PreconditionFailed, "a; b");
        assert_eq!(
            error.classic(&tracking()).to_string(),
            "{\"Message\":\"ErrorCode:PreconditionFailed;a, b\",\"ExceptionMessage\":\
             \"Tracking ID:0123456789abcdef0123456789abcdef-G:5-TimeStamp:01/05/2026 09:12:31\"}"
        );
    }

    #[test]
    fn the_nested_shape_holds_json_as_text_and_no_exception() {
        let error = ApiError::from(MethodError::NotOnline);
        let body = error.nested(&tracking());
        assert_eq!(body["ExceptionMessage"], json!(""));
        assert_eq!(
            body["Message"].as_str().unwrap(),
            "{\"errorCode\":404103,\"trackingId\":\
             \"0123456789abcdef0123456789abcdef-G:5-TimeStamp:01/05/2026 09:12:31\",\
             \"message\":\"the operation failed because the requested device isn't online\",\
             \"info\":null,\"timestampUtc\":\"2026-01-05T09:12:31.4120000Z\"}"
        );
    }

    #[test]
    fn each_cause_of_a_failed_method_call_stands_in_a_header() {
        for error in MethodError::ALL {
            let response = ApiError::from(error).into_response(Shape::Nested, &tracking());
            assert_eq!(response.headers()[CAUSE], error.cause());
        }
        let other = ApiError::unreadable().into_response(Shape::Classic, &tracking());
        assert!(!other.headers().contains_key(CAUSE));
    }

    #[test]
    fn a_module_that_exists_already_is_told_flat_whatever_the_endpoint() {
        for shape in [Shape::Classic, Shape::Flat, Shape::Nested] {
            let error = ApiError::new(ErrorCode::ModuleAlreadyExistsOnDevice, "m exists");
            assert_eq!(error.shape_at(shape), Shape::Flat);
            assert_eq!(
                error.flat(&tracking()).to_string(),
                "{\"errorCode\":409301,\"trackingId\":\
                 \"0123456789abcdef0123456789abcdef-G:5-TimeStamp:01/05/2026 09:12:31\",\
                 \"message\":\"m exists\",\"info\":null,\
                 \"timestampUtc\":\"2026-01-05T09:12:31.4120000Z\"}"
            );
        }
        let other = ApiError::new(ErrorCode::GenericConflict, "x");
        assert_eq!(other.shape_at(Shape::Classic), Shape::Classic);
    }

    #[test]
    fn every_code_has_its_status_and_its_name_in_the_header() {
        for code in ErrorCode::ALL {
            for shape in [Shape::Classic, Shape::Flat, Shape::Nested] {
                let response = ApiError::new(*code, "text").into_response(shape, &tracking());
                assert_eq!(response.status().as_u16(), code.http_status());
                assert_eq!(response.headers()["iothub-errorcode"], code.name());
            }
        }
    }
}
