//! Device identities: read, create, replace, delete, list (registry.md §2).

use axum::http::Uri;
use downlink_domain::ErrorCode;
use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::id::{DeviceId, IdentityName};
use serde_json::Value;

use super::answer::Answer;
use super::error::ApiError;
use super::openapi::schema::IdentityId;
use super::openapi::schema::identity::{DeviceIdentity, NewDeviceIdentity, Top};
use super::request::{find_query, parse_object};
use super::{facts, identity};
use crate::shared::Shared;

/// Most devices of one list, and what a number outside of 1 to 1000 stands for.
const MAX_LISTED: u32 = 1000;

/// Reads the identity of a device.
#[utoipa::path(
    get,
    path = "/devices/{id}",
    tag = "identities",
    operation_id = "getDevice",
    params(
        ("id" = IdentityId, Path, description = "The device."),
    ),
    responses((status = 200, description = "The identity.", body = DeviceIdentity, headers(("ETag" = String, description = "The etag, quoted.")))),
)]
pub(super) async fn get(shared: &Shared, id: DeviceId) -> Result<Answer, ApiError> {
    let hub = shared.options.hub.clone();
    let found = shared
        .peers
        .twins
        .find_device(hub, id.clone().into())
        .await?;
    let device = found.ok_or_else(|| not_found(&id))?;
    let facts = facts::ask_one(&shared.peers, &device).await?;
    Ok(Answer::json(&identity::document(&device, facts)).with_etag(&device.etag_text()))
}

/// Creates the identity of a device; with `If-Match` replaces it.
#[utoipa::path(
    put,
    path = "/devices/{id}",
    tag = "identities",
    operation_id = "putDevice",
    params(
        ("id" = IdentityId, Path, description = "The device."),
        ("If-Match" = Option<String>, Header, description = "`*`, or an etag."),
    ),
    request_body = NewDeviceIdentity,
    responses((status = 200, description = "The identity as it is now.", body = DeviceIdentity, headers(("ETag" = String, description = "The etag, quoted.")))),
)]
pub(super) async fn put(
    shared: &Shared,
    id: DeviceId,
    if_match: IfMatch,
    body: &[u8],
    by: Actor,
) -> Result<Answer, ApiError> {
    let body = parse_object(body)?;
    let name = IdentityName::from(id);
    let mut spec = identity::parse_spec(&body, &name, &*shared.peers.ids)?;
    let hub = shared.options.hub.clone();
    let twins = &shared.peers.twins;
    if if_match == IfMatch::Absent {
        // A new device has no scope yet that could be blanked.
        spec.device_scope = spec.device_scope.filter(|scope| !scope.is_empty());
    }
    let device = twins.put_device(hub, name, spec, if_match, by).await?;
    let facts = facts::ask_after_write(&shared.peers, &device).await;
    Ok(Answer::json(&identity::document(&device, facts)).with_etag(&device.etag_text()))
}

/// Deletes the identity of a device, its modules, its twin and its messages.
#[utoipa::path(
    delete,
    path = "/devices/{id}",
    tag = "identities",
    operation_id = "deleteDevice",
    params(
        ("id" = IdentityId, Path, description = "The device."),
        ("If-Match" = Option<String>, Header, description = "`*`, or an etag."),
    ),
    responses((status = 204, description = "It is gone.")),
)]
pub(super) async fn delete(
    shared: &Shared,
    id: DeviceId,
    if_match: IfMatch,
    by: Actor,
) -> Result<Answer, ApiError> {
    let hub = shared.options.hub.clone();
    shared
        .peers
        .twins
        .delete_device(hub, id.into(), if_match, by)
        .await?;
    Ok(Answer::empty())
}

/// Lists identities of devices, some of them.
#[utoipa::path(
    get,
    path = "/devices",
    tag = "identities",
    operation_id = "listDevices",
    params(
        ("top" = Option<Top>, Query, description = "How many at most; a number outside of 1 to 1000 stands for 1000."),
    ),
    responses((status = 200, description = "Identities.", body = Vec<DeviceIdentity>)),
)]
pub(super) async fn list(shared: &Shared, uri: &Uri) -> Result<Answer, ApiError> {
    let hub = shared.options.hub.clone();
    let devices = shared
        .peers
        .twins
        .list_devices(hub, parse_top(uri)?)
        .await?;
    let keys = devices.iter().map(|device| device.key).collect();
    let facts = facts::ask(&shared.peers, keys).await?;
    let documents = devices
        .iter()
        .zip(facts)
        .map(|(device, facts)| identity::document(device, facts));
    Ok(Answer::json(&Value::Array(documents.collect())))
}

fn parse_top(uri: &Uri) -> Result<u32, ApiError> {
    let Some(top) = find_query(uri, "top").filter(|top| !top.is_empty()) else {
        return Ok(MAX_LISTED);
    };
    let top: i64 = top
        .parse()
        .map_err(|_| ApiError::invalid(&"top must be a number"))?;
    let top = u32::try_from(top).unwrap_or(0);
    Ok(if (1..=MAX_LISTED).contains(&top) {
        top
    } else {
        MAX_LISTED
    })
}

pub(crate) fn not_found(id: &DeviceId) -> ApiError {
    ApiError::new(
        ErrorCode::DeviceNotFound,
        format!("device {id} is not registered"),
    )
}
