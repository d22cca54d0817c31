//! Telemetry, one message or a batch (http-device.md §2).

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Response, Version};
use bytes::Bytes;
use downlink_domain::id::IdentityName;
use downlink_http_device::Malformed;
use downlink_http_device::batch::{self, Bounds};
use downlink_http_device::property::{self, Name, Properties, System};
use tokio::time::timeout;

use super::throttle::{Kind, throttle};
use super::{Refused, empty};
use crate::authenticate::AuthenticatedDevice;
use crate::device::{Stamp, Telemetry, system_property};
use crate::https::error::ApiError;
use crate::https::openapi::schema::IdentityId;
use crate::https::{USE_CASE_DEADLINE, header_case, request};
use crate::shared::Shared;

/// Messages that one batch may bring, as over AMQP: each is stored with what the hub says of its sender, so that
/// batches of empty ones must have a bound.
const MAX_BATCH: usize = 8192;

/// Stores what the request brings; answered when it is on disk.
#[utoipa::path(
    post,
    path = "/devices/{id}/messages/events",
    tag = "devices",
    operation_id = "sendTelemetry",
    params(
        ("id" = IdentityId, Path, description = "The device."),
    ),
    request_body(content = String, content_type = "application/octet-stream"),
    responses((status = 204, description = "It is stored.")),
)]
pub(super) async fn store(
    shared: &Shared,
    device: &AuthenticatedDevice,
    parts: &Parts,
    body: &mut Body,
) -> Result<Response<Body>, Refused> {
    let most = shared.options.max_telemetry_bytes;
    let body = request::read_body_within(&parts.headers, body, most, &shared.options.https).await?;
    let identity = &device.opened.device;
    let messages = read(parts, body, &path_of(&identity.name), most)?;
    let stamp = Stamp::new(identity, device.by, None);
    let (ids, now) = (&*shared.peers.ids, shared.peers.clock.now());
    let events: Vec<_> = messages
        .into_iter()
        .map(|message| stamp.event(identity, message, ids, now))
        .collect();
    let count = events.len();
    let cost = u32::try_from(count).unwrap_or(u32::MAX);
    throttle(shared, identity, Kind::Telemetry, cost).await?;
    let stored = timeout(USE_CASE_DEADLINE, shared.peers.queue.record_events(events)).await;
    stored
        .map_err(|_| ApiError::deadline())?
        .map_err(ApiError::from)?;
    shared.metrics.telemetry_stored.add(count as u64);
    Ok(empty())
}

fn read(
    parts: &Parts,
    body: Bytes,
    path: &str,
    max_bytes: usize,
) -> Result<Vec<Telemetry>, Malformed> {
    let content_type = parts.headers.get(CONTENT_TYPE);
    if content_type.is_some_and(|value| batch::is_batch(value.as_bytes())) {
        let bounds = Bounds {
            max_messages: MAX_BATCH,
            max_message_bytes: max_bytes,
        };
        let messages = batch::read(&body, path, bounds)?;
        let named = messages
            .into_iter()
            .map(|message| named(message.properties, message.body));
        return Ok(named.collect());
    }
    let properties = read_headers(parts, path)?;
    if property::counted_bytes(&properties, &body) > max_bytes {
        return Err(Malformed::TooLarge(max_bytes));
    }
    Ok(vec![named(properties, body)])
}

/// Reads the properties, with the names of the device's own as they were spelled.
fn read_headers(parts: &Parts, path: &str) -> Result<Properties, Malformed> {
    let all = || {
        parts
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
    };
    let is_own = |name: &str| property::is_application(name);
    let has_own = parts.headers.keys().any(|name| is_own(name.as_str()));
    let spelled = if has_own && parts.version < Version::HTTP_2 {
        let own = parts
            .headers
            .iter()
            .filter(|(name, _)| is_own(name.as_str()));
        let mut headers = HeaderMap::new();
        for (name, value) in own {
            headers.append(name.clone(), value.clone());
        }
        header_case::sent(headers, &parts.extensions)
    } else {
        None
    };
    let Some(spelled) = spelled else {
        return property::from_headers(all(), path);
    };
    let others = all().filter(|(name, _)| !is_own(name));
    let own = spelled
        .iter()
        .map(|(name, value)| (name.as_str(), &value[..]));
    property::from_headers(others.chain(own), path)
}

/// Gives properties the names under which they are stored.
fn named(properties: Properties, body: Bytes) -> Telemetry {
    let stored = |(name, value)| match name {
        Name::Application(name) => (name, value),
        Name::System(system) => (stored_name(system).to_owned(), value),
    };
    Telemetry {
        properties: properties.into_iter().map(stored).collect(),
        body,
    }
}

fn stored_name(system: System) -> &'static str {
    match system {
        System::MessageId => system_property::MESSAGE_ID,
        System::CorrelationId => system_property::CORRELATION_ID,
        System::UserId => system_property::USER_ID,
        System::To => system_property::TO,
        System::Expiry => system_property::ABSOLUTE_EXPIRY_TIME,
        System::Ack => "iothub-ack",
        System::ContentType => system_property::CONTENT_TYPE,
        System::ContentEncoding => system_property::CONTENT_ENCODING,
        System::CreationTime => system_property::CREATION_TIME,
        System::InterfaceId => system_property::INTERFACE_ID,
        System::MessageSchema => system_property::MESSAGE_SCHEMA,
        System::Subject => system_property::SUBJECT,
    }
}

/// The path of the request, decoded and in the contract's case.
fn path_of(name: &IdentityName) -> String {
    match &name.module {
        None => format!("/devices/{}/messages/events", name.device),
        Some(module) => format!("/devices/{}/modules/{module}/messages/events", name.device),
    }
}
