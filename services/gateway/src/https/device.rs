//! Devices and modules over HTTPS (http-device.md): telemetry, and messages that they ask for.
//!
//! A request passes, in this order: its path, its credential, its `api-version`, what else it says, its body. Such a
//! device is connected to nothing: methods do not find it, and presence does not know of it.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode};
use downlink_domain::ErrorCode;
use downlink_domain::id::IdentityName;
use downlink_http_device::{Malformed, query};
use tokio::time::timeout;

use super::error::{ApiError, Shape};
use super::{USE_CASE_DEADLINE, request};
use crate::arrival::Arrival;
use crate::audit::Origin;
use crate::authenticate::{AuthenticatedDevice, Cause, Credential, Refusal, RefusalKind};
use crate::metrics::{Door, RefusedFor};
use crate::shared::Shared;
use crate::tracking::Tracking;

pub(super) mod messages;
pub(super) mod telemetry;
mod throttle;

/// What a device asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DeviceCall {
    /// To store telemetry.
    SendTelemetry,
    /// The next message.
    Receive,
    /// To complete or, if the query says so, to reject the message it holds by this.
    Complete(String),
    /// To give back the message it holds by this.
    Abandon(String),
    /// Anything about files, for which this hub has no storage.
    UploadFile,
}

/// Why a device is not served.
#[derive(Debug)]
pub(super) struct Refused {
    error: ApiError,
    /// When it may come again, if it is known better than that it should wait a little.
    retry_after: Option<Duration>,
}

impl Refused {
    /// The answer.
    pub(super) fn into_response(self, tracking: &Tracking, parts: &Parts) -> Response<Body> {
        self.error.log(tracking, parts);
        let mut response = self.error.into_response(Shape::Classic, tracking);
        if let Some(wait) = self.retry_after {
            // Whole seconds, and not one too early.
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            let seconds = HeaderValue::from(u64::try_from(seconds).unwrap_or(u64::MAX));
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Self {
            error,
            retry_after: None,
        }
    }
}

impl From<Malformed> for Refused {
    fn from(error: Malformed) -> Self {
        let code = match error {
            Malformed::TooMany(_) | Malformed::TooLarge(_) => ErrorCode::MessageTooLarge,
            Malformed::Version => ErrorCode::InvalidProtocolVersion,
            Malformed::Nameless
            | Malformed::Name(_)
            | Malformed::Value(_)
            | Malformed::Batch(_)
            | Malformed::Base64(_)
            | Malformed::Empty
            | Malformed::LockTimeout => ErrorCode::ArgumentInvalid,
        };
        ApiError::new(code, error.to_string()).into()
    }
}

/// Serves one request of `name`.
pub(super) async fn answer(
    shared: &Shared,
    name: &IdentityName,
    call: &DeviceCall,
    parts: &Parts,
    body: &mut Body,
) -> Result<Response<Body>, Refused> {
    let device = authenticate(shared, name, parts).await?;
    let said = parts.uri.query().unwrap_or_default();
    query::check_version(said)?;
    let now = shared.peers.clock.now();
    shared.pollers.note(device.opened.device.key, now);
    match call {
        DeviceCall::SendTelemetry => telemetry::store(shared, &device, parts, body).await,
        DeviceCall::Receive => messages::receive(shared, &device, parts).await,
        DeviceCall::Complete(reference) => {
            messages::complete(shared, &device, reference, query::is_reject(said)).await
        }
        DeviceCall::Abandon(reference) => messages::abandon(shared, &device, reference).await,
        DeviceCall::UploadFile => Err(ApiError::new(
            ErrorCode::DefaultStorageEndpointNotConfigured,
            "this hub has no storage for files",
        )
        .into()),
    }
}

/// Checks the token in the header; without one, the certificates of the connection. C sends a blank header until it has
/// a token.
async fn authenticate(
    shared: &Shared,
    name: &IdentityName,
    parts: &Parts,
) -> Result<AuthenticatedDevice, Refused> {
    let token = request::credential(&parts.headers).trim();
    let arrival = parts.extensions.get::<Arc<Arrival>>();
    let chain = arrival.and_then(|arrival| arrival.certificates.as_ref());
    let has_header = parts
        .headers
        .get(AUTHORIZATION)
        .is_some_and(|value| !value.as_bytes().trim_ascii().is_empty());
    let credential = match chain {
        Some(chain) if !has_header => Ok(Credential::Certificate(chain)),
        _ if token.is_empty() => Err(Refusal::of(Cause::NoCredential)),
        _ => Ok(Credential::Token(token)),
    };
    let checked = async { shared.authenticator.device(name, credential?).await };
    let checked = timeout(USE_CASE_DEADLINE, checked).await;
    let Ok(checked) = checked else {
        shared.metrics.connect_refused(RefusedFor::Deadline);
        return Err(ApiError::deadline().into());
    };
    checked.map_err(|refusal| {
        let origin = Origin::http(Door::Https, arrival);
        shared.audit.refused_device(origin, name, &refusal);
        let (cause, error) = match refusal.kind() {
            RefusalKind::Unauthorized => (RefusedFor::Unauthorized, refusal.into()),
            // Told to those alone who hold a key (http-device.md §6.2).
            RefusalKind::Disabled => {
                let text = "the device is disabled";
                let error = ApiError::new(ErrorCode::DeviceDisabled, text);
                (RefusedFor::Disabled, error)
            }
            RefusalKind::Unavailable => (RefusedFor::Unavailable, refusal.into()),
        };
        shared.metrics.connect_refused(cause);
        error.into()
    })
}

/// 204.
fn empty() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
