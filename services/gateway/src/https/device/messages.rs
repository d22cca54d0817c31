//! Messages for a device: it asks, and says what becomes of each (http-device.md §3, §4, §7).

use std::collections::HashSet;
use std::sync::OnceLock;

use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Response, Version};
use downlink_domain::ErrorCode;
use downlink_domain::id::{DeviceKey, IdentityName, LockToken, SequenceNumber};
use downlink_domain::message::{Settlement, Verdict};
use downlink_http_device::delivery::{self, Delivery, Header};
use downlink_http_device::lock::LockReference;
use downlink_http_device::query;
use downlink_ports::{LockedMessage, PollTurn, ReceiveCall, SettleError};
use tokio::time::timeout;

use super::throttle::{Kind, throttle};
use super::{Refused, empty};
use crate::authenticate::AuthenticatedDevice;
use crate::https::error::ApiError;
use crate::https::openapi::schema::IdentityId;
use crate::https::{USE_CASE_DEADLINE, header_case};
use crate::shared::Shared;

/// Answers at once with the next message, which the device holds from then on, or with 204.
#[utoipa::path(
    get,
    path = "/devices/{id}/messages/deviceBound",
    tag = "devices",
    operation_id = "receiveMessage",
    params(
        ("id" = IdentityId, Path, description = "The device."),
        ("IotHub-MessageLockTimeout" = Option<u32>, Header, description = "How long the device holds it, in seconds; 60 if it is left out.", minimum = 5, maximum = 300),
    ),
    responses(
        (status = 200, description = "A message, whose properties are headers.", body = String, content_type = "application/octet-stream", headers(("ETag" = String, description = "By what the device names it, quoted."))),
        (status = 204, description = "There is none."),
    ),
)]
pub(super) async fn receive(
    shared: &Shared,
    device: &AuthenticatedDevice,
    parts: &Parts,
) -> Result<Response<Body>, Refused> {
    let header = parts
        .headers
        .get(query::LOCK_TIMEOUT)
        .map(HeaderValue::as_bytes);
    let said = parts.uri.query().unwrap_or_default();
    let lock_duration = query::lock_timeout(header, said)?;
    let identity = &device.opened.device;
    throttle(shared, identity, Kind::Receive, 1).await?;
    take_turn(shared, identity.key).await?;
    let call = ReceiveCall {
        device: identity.key,
        limit: 1,
        lock_duration,
    };
    let received = timeout(USE_CASE_DEADLINE, shared.peers.queue.receive(vec![call])).await;
    let received = received
        .map_err(|_| ApiError::deadline())?
        .map_err(ApiError::from)?;
    let Some(locked) = received.into_iter().flatten().next() else {
        return Ok(empty());
    };
    shared.metrics.messages_delivered.increment();
    Ok(respond(locked, &identity.name, parts.version))
}

/// Refuses a device that polls more often than it may. While the throttle is away everybody may.
async fn take_turn(shared: &Shared, device: DeviceKey) -> Result<(), Refused> {
    let interval = shared.options.https.min_poll_interval;
    if interval.is_zero() {
        return Ok(());
    }
    let now = shared.peers.clock.now();
    match shared.peers.polls.take_turn(device, interval, now).await {
        Ok(PollTurn::Taken) => Ok(()),
        Ok(PollTurn::TooSoon { wait }) => {
            shared.metrics.polls_refused.increment();
            let text = "the device asks for messages more often than it may";
            let error = ApiError::new(ErrorCode::DeviceThrottlingLimitExceeded, text);
            Err(Refused {
                error,
                retry_after: Some(wait),
            })
        }
        Err(error) => {
            tracing::debug!(%error, "a poll is not throttled");
            Ok(())
        }
    }
}

/// Completes a message; with `reject` in the query dead-letters it. Either way it does not come again.
#[utoipa::path(
    delete,
    path = "/devices/{id}/messages/deviceBound/{lock}",
    tag = "devices",
    operation_id = "completeMessage",
    params(
        ("id" = IdentityId, Path, description = "The device."),
        ("lock" = String, Path, description = "By what the device names the message."),
        ("reject" = Option<String>, Query, description = "If it is there, whatever it holds, the message is dead-lettered."),
    ),
    responses((status = 204, description = "It is done.")),
)]
pub(super) async fn complete(
    shared: &Shared,
    device: &AuthenticatedDevice,
    reference: &str,
    is_reject: bool,
) -> Result<Response<Body>, Refused> {
    let verdict = if is_reject {
        Verdict::Reject
    } else {
        Verdict::Complete
    };
    settle(shared, device, reference, verdict).await
}

/// Gives a message back: it comes again.
#[utoipa::path(
    post,
    path = "/devices/{id}/messages/deviceBound/{lock}/abandon",
    tag = "devices",
    operation_id = "abandonMessage",
    params(
        ("id" = IdentityId, Path, description = "The device."),
        ("lock" = String, Path, description = "By what the device names the message."),
    ),
    responses((status = 204, description = "It is given back.")),
)]
pub(super) async fn abandon(
    shared: &Shared,
    device: &AuthenticatedDevice,
    reference: &str,
) -> Result<Response<Body>, Refused> {
    settle(shared, device, reference, Verdict::Abandon).await
}

/// Settles the message that the device names by what it was given with it. One that was settled, given back or lost
/// meanwhile, or never given, is not held (http-device.md §4).
async fn settle(
    shared: &Shared,
    device: &AuthenticatedDevice,
    reference: &str,
    verdict: Verdict,
) -> Result<Response<Body>, Refused> {
    let lost = || {
        ApiError::new(
            SettleError::LockLost.code(),
            SettleError::LockLost.to_string(),
        )
    };
    let reference = LockReference::parse(reference).ok_or_else(lost)?;
    let token: LockToken = reference.token.parse().map_err(|_| lost())?;
    let settlement = Settlement {
        device: device.opened.device.key,
        sequence: SequenceNumber(reference.sequence),
        token,
        verdict,
    };
    let settled = timeout(
        USE_CASE_DEADLINE,
        shared.peers.queue.settle(vec![settlement]),
    )
    .await;
    let settled = settled
        .map_err(|_| ApiError::deadline())?
        .map_err(ApiError::from)?;
    match settled.into_iter().next() {
        Some(Ok(())) => Ok(empty()),
        Some(Err(SettleError::LockLost)) | None => Err(lost().into()),
    }
}

fn respond(locked: LockedMessage, name: &IdentityName, version: Version) -> Response<Body> {
    let LockedMessage { message, lock } = locked;
    let told = &message.properties;
    let to = told.to.clone().unwrap_or_else(|| address_of(name));
    let reference = LockReference {
        token: lock.token,
        sequence: message.sequence.0,
    };
    let headers = delivery::headers(&Delivery {
        reference: &reference,
        message_id: told.message_id.as_deref(),
        correlation_id: told.correlation_id.as_deref(),
        to: &to,
        user_id: told.user_id.as_deref(),
        ack: message.ack.as_str(),
        expiry: told.expiry.as_ref().map(|at| at as _),
        enqueued_at: &message.enqueued_at,
        sequence: message.sequence.0,
        delivery_count: message.delivery_count,
        content_type: told.content_type.as_deref(),
        content_encoding: told.content_encoding.as_deref(),
        application: &told.application,
    });
    let mut response = Response::new(Body::from(message.body));
    *response.headers_mut() = to_map(&headers);
    if version < Version::HTTP_2
        && let Some(spelled) = spelling_of(&headers)
    {
        response.extensions_mut().extend(spelled);
    }
    response
}

/// What `iothub-to` says when the sender said nothing.
fn address_of(name: &IdentityName) -> String {
    match &name.module {
        None => format!("/devices/{}/messages/deviceBound", name.device),
        Some(module) => format!(
            "/devices/{}/modules/{module}/messages/deviceBound",
            name.device
        ),
    }
}

fn to_map(headers: &[Header]) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(headers.len() + 2);
    for (name, value) in headers {
        let (name, value) = (name.parse::<HeaderName>(), HeaderValue::try_from(value));
        if let (Ok(name), Ok(value)) = (name, value) {
            // A map that is full has more than any client reads.
            let _ = map.try_append(name, value);
        }
    }
    map
}

/// What has the names go out in their case; nearly all messages share one.
fn spelling_of(headers: &[Header]) -> Option<Extensions> {
    static USUAL: OnceLock<Option<Extensions>> = OnceLock::new();
    let is_upper = |name: &&str| name.bytes().any(|byte| byte.is_ascii_uppercase());
    let names = headers
        .iter()
        .map(|(name, _)| name.as_str())
        .filter(is_upper);
    let mut names: HashSet<&str> = names.collect();
    let before = names.len();
    names.extend(delivery::SPELLED);
    let has_own = names.len() > delivery::SPELLED.len() && before > 0;
    if has_own {
        return header_case::spelled(&names);
    }
    USUAL
        .get_or_init(|| header_case::spelled(&delivery::SPELLED.into()))
        .clone()
}
