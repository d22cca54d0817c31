//! Failures on the wire (errors-limits.md §1).

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, Response, StatusCode};
use downlink_domain::method::MethodError;
use downlink_domain::twin::JsonError;
use downlink_domain::{ErrorCode, Timestamp};
use downlink_ports::{PeerError, StoreError};
use serde_json::{Value, json};

use super::answer::JSON;
use crate::authenticate::{Denied, Refusal, RefusalKind};

/// Which body a failure has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Shape A.
    Classic,
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
}

/// What an operator finds a failed request by.
#[derive(Clone, Debug)]
pub(super) struct Tracking {
    /// 32 hexadecimal digits.
    pub(super) id: String,
    /// Stands for the gateway.
    pub(super) gateway: u8,
    pub(super) at: Timestamp,
}

/// Seconds that a caller should wait after 429 and 503. The SDKs do not look at it; others do.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("5");

impl ApiError {
    pub(crate) fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
            is_challenge: false,
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

    /// The text for the caller.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn into_response(self, shape: Shape, tracking: &Tracking) -> Response<Body> {
        let body = match shape {
            Shape::Classic => self.classic(tracking),
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
        if matches!(self.code.http_status(), 429 | 503) {
            headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        }
        if self.is_challenge {
            // auth.md §6.4.
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }

    fn classic(&self, tracking: &Tracking) -> Value {
        // Clients split at the semicolon and show one part.
        let text = self.text.replace(';', ",");
        json!({
            "Message": format!("ErrorCode:{};{text}", self.code.name()),
            "ExceptionMessage": format!("Tracking ID:{tracking}"),
        })
    }

    /// `ExceptionMessage` is empty and `info` null because clients glue and parse them
    /// (methods.md §2.3).
    fn nested(&self, tracking: &Tracking) -> Value {
        let inner = json!({
            "errorCode": self.code.number(),
            "trackingId": tracking.to_string(),
            "message": self.text,
            "info": Value::Null,
            "timestampUtc": tracking.at.to_string(),
        });
        json!({ "Message": inner.to_string(), "ExceptionMessage": "" })
    }
}

/// `<32 hex>-G:<n>-TimeStamp:<MM/dd/yyyy HH:mm:ss>`, the time in UTC.
impl std::fmt::Display for Tracking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The ISO form has fixed places for years 1 to 9999, which is all there are.
        let at = self.at.to_string();
        let (date, time) = at.split_once('T').unwrap_or((&at, ""));
        let (year, day) = date.split_once('-').unwrap_or((date, ""));
        let time = time.get(..8).unwrap_or(time);
        let day = day.replace('-', "/");
        write!(
            f,
            "{}-G:{}-TimeStamp:{day}/{year} {time}",
            self.id, self.gateway
        )
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
        Self::new(error.code(), error.to_string())
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

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        Self::new(denied.code(), denied.to_string())
    }
}

#[cfg(test)]
mod tests {
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
    fn every_code_has_its_status_and_its_name_in_the_header() {
        for code in ErrorCode::ALL {
            for shape in [Shape::Classic, Shape::Nested] {
                let response = ApiError::new(*code, "text").into_response(shape, &tracking());
                assert_eq!(response.status().as_u16(), code.http_status());
                assert_eq!(response.headers()["iothub-errorcode"], code.name());
            }
        }
    }
}
