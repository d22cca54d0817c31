//! Twins: read, patch, replace (twins.md §1–§4).

use downlink_domain::device::{Device, IfMatch};
use downlink_domain::id::IdentityName;
use downlink_domain::twin::{Object, TwinChange};
use downlink_ports::TwinView;
use serde_json::{Value, json};

use super::answer::Answer;
use super::error::ApiError;
use super::facts::{self, Facts};
use super::identity;
use super::openapi::schema::IdentityId;
use super::openapi::schema::twin::{Twin, WrittenTwin};
use super::request::{object_member, parse_object};
use crate::shared::Shared;

/// Reads the twin of a device.
#[utoipa::path(
    get,
    path = "/twins/{id}",
    tag = "twins",
    operation_id = "getTwin",
    params(
        ("id" = IdentityId, Path, description = "The device."),
    ),
    responses((status = 200, description = "The twin.", body = Twin)),
)]
pub(super) async fn get(shared: &Shared, name: IdentityName) -> Result<Answer, ApiError> {
    let hub = shared.options.hub.clone();
    let view = shared.peers.twins.get_twin(hub, name).await?;
    Ok(Answer::json(&render(shared, &view).await?))
}

/// The document of a twin that was just read.
pub(super) async fn render(shared: &Shared, view: &TwinView) -> Result<Value, ApiError> {
    let facts = facts::ask_one(&shared.peers, &view.device);
    let (facts, owner) = futures::try_join!(facts, find_owner(shared, view))?;
    Ok(document(view, owner.as_ref(), facts))
}

/// The device of a module, whose status the module has (twins.md §2); `None` for a device.
async fn find_owner(shared: &Shared, view: &TwinView) -> Result<Option<Device>, ApiError> {
    let name = &view.device.name;
    if name.module.is_none() {
        return Ok(None);
    }
    let owner = IdentityName::from(name.device.clone());
    let hub = view.device.hub.clone();
    Ok(shared.peers.twins.find_device(hub, owner).await?)
}

/// Changes what the body names; `null` removes it.
#[utoipa::path(
    patch,
    path = "/twins/{id}",
    tag = "twins",
    operation_id = "patchTwin",
    params(
        ("id" = IdentityId, Path, description = "The device."),
        ("If-Match" = Option<String>, Header, description = "`*`, or an etag."),
    ),
    request_body = WrittenTwin,
    responses((status = 200, description = "The twin as it is now.", body = Twin)),
)]
pub(super) async fn patch(
    shared: &Shared,
    name: IdentityName,
    if_match: IfMatch,
    body: &[u8],
) -> Result<Answer, ApiError> {
    let (tags, desired) = parse_parts(body)?;
    let change = TwinChange::Patch {
        tags,
        desired,
        if_match,
    };
    write(shared, name, change).await
}

/// Replaces tags and desired properties; what the body leaves out is gone.
#[utoipa::path(
    put,
    path = "/twins/{id}",
    tag = "twins",
    operation_id = "replaceTwin",
    params(
        ("id" = IdentityId, Path, description = "The device."),
        ("If-Match" = Option<String>, Header, description = "`*`, or an etag."),
    ),
    request_body = WrittenTwin,
    responses((status = 200, description = "The twin as it is now.", body = Twin)),
)]
pub(super) async fn replace(
    shared: &Shared,
    name: IdentityName,
    if_match: IfMatch,
    body: &[u8],
) -> Result<Answer, ApiError> {
    let (tags, desired) = parse_parts(body)?;
    // A part that is left out is wiped (twins.md §4.3).
    let change = TwinChange::Replace {
        tags: tags.unwrap_or_default(),
        desired: desired.unwrap_or_default(),
        if_match,
    };
    write(shared, name, change).await
}

async fn write(
    shared: &Shared,
    name: IdentityName,
    change: TwinChange,
) -> Result<Answer, ApiError> {
    let hub = shared.options.hub.clone();
    let view = shared.peers.twins.update_twin(hub, name, change).await?;
    let facts = facts::ask_after_write(&shared.peers, &view.device);
    let (facts, owner) = futures::join!(facts, find_owner(shared, &view));
    let owner = owner.unwrap_or_else(|error| {
        tracing::warn!(
            ?error,
            "the device of a module cannot be read after a write"
        );
        None
    });
    Ok(Answer::json(&document(&view, owner.as_ref(), facts)))
}

/// Takes the two parts that have effect; everything else in the body is ignored (twins.md §4.1).
fn parse_parts(body: &[u8]) -> Result<(Option<Object>, Option<Object>), ApiError> {
    let body = parse_object(body)?;
    let tags = object_member(&body, "tags")?;
    let properties = object_member(&body, "properties")?;
    let desired = properties
        .map(|properties| object_member(properties, "desired"))
        .transpose()?;
    Ok((tags.cloned(), desired.flatten().cloned()))
}

/// The twin in the member order of the contract.
fn document(view: &TwinView, owner: Option<&Device>, facts: Facts) -> Value {
    let (device, twin) = (&view.device, &view.twin);
    // A module has the status of its device.
    let standing = owner.unwrap_or(device);
    let mut members = Object::new();
    let mut put = |name: &str, value: Value| {
        members.insert(name.to_owned(), value);
    };
    put("deviceId", device.name.device.as_str().into());
    if let Some(module) = &device.name.module {
        put("moduleId", module.as_str().into());
    }
    put("etag", twin.etag_text().into());
    put("deviceEtag", device.etag_text().into());
    put("status", standing.status.as_str().into());
    if let Some(reason) = &standing.status_reason {
        put("statusReason", reason.as_str().into());
    }
    put(
        "statusUpdateTime",
        standing.status_updated_at.to_string().into(),
    );
    put("connectionState", facts.connection_state(device).into());
    put(
        "lastActivityTime",
        device.last_activity_at.to_string().into(),
    );
    put("cloudToDeviceMessageCount", facts.waiting_messages.into());
    put(
        "authenticationType",
        identity::authentication_type(&device.authentication).into(),
    );
    put(
        "x509Thumbprint",
        identity::thumbprints(&device.authentication),
    );
    put("modelId", device.model_id.as_str().into());
    put("version", twin.version.into());
    if !twin.tags.is_empty() {
        put("tags", twin.tags.clone().into());
    }
    put("properties", twin.properties().into());
    put("capabilities", json!({ "iotEdge": device.is_edge }));
    if let Some(scope) = device.device_scope.clone() {
        put("deviceScope", scope.into());
        put("parentScopes", json!(device.parent_scopes));
    }
    Value::Object(members)
}
