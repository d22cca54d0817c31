//! Identities of modules (registry.md §3).

use axum::http::Method;
use downlink_domain::ErrorCode;
use downlink_domain::access::{Action, Actor};
use downlink_domain::device::{Device, DeviceStatus, IfMatch};
use downlink_domain::id::{DeviceId, IdentityName, ModuleId};
use serde_json::Value;

use super::answer::Answer;
use super::error::ApiError;
use super::openapi::schema::IdentityId;
use super::openapi::schema::identity::{ModuleIdentity, NewModuleIdentity};
use super::request::parse_object;
use super::{facts, identity};
use crate::shared::Shared;

/// What is asked of the modules of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Call {
    List,
    Get(ModuleId),
    Put(ModuleId),
    Delete(ModuleId),
}

/// Who asks.
pub(super) struct Caller {
    pub(super) actor: Actor,
    /// Whether by the key of a policy; other tokens are answered otherwise (registry.md §3).
    pub(super) is_policy: bool,
}

impl Call {
    /// What the calls to one module are, by their methods.
    pub(super) fn known(module: &ModuleId) -> [(Method, Self); 3] {
        [
            (Method::GET, Self::Get(module.clone())),
            (Method::PUT, Self::Put(module.clone())),
            (Method::DELETE, Self::Delete(module.clone())),
        ]
    }

    /// The right that it takes on the device.
    pub(super) fn action(&self) -> Action {
        match self {
            Self::List | Self::Get(_) => Action::DevicesRead,
            Self::Put(_) => Action::DevicesWrite,
            Self::Delete(_) => Action::DevicesDelete,
        }
    }

    pub(super) fn has_body(&self) -> bool {
        matches!(self, Self::Put(_))
    }
}

pub(super) async fn answer(
    shared: &Shared,
    device: DeviceId,
    call: Call,
    caller: Caller,
    if_match: IfMatch,
    body: &[u8],
) -> Result<Answer, ApiError> {
    check_device(shared, &device, &caller).await?;
    let named = |module| IdentityName {
        device: device.clone(),
        module: Some(module),
    };
    match call {
        Call::List => list(shared, device).await,
        Call::Get(module) => get(shared, named(module)).await,
        Call::Put(module) => put(shared, named(module), if_match, body, caller.actor).await,
        Call::Delete(module) => delete(shared, named(module), if_match, caller.actor).await,
    }
}

/// Looks at the device: a policy has no access to modules of one that is missing or disabled, and
/// is told no more.
async fn check_device(shared: &Shared, device: &DeviceId, caller: &Caller) -> Result<(), ApiError> {
    let hub = shared.options.hub.clone();
    let twins = &shared.peers.twins;
    let found = twins.find_device(hub, device.clone().into()).await?;
    let is_enabled = |found: &Device| found.status == DeviceStatus::Enabled;
    match found {
        Some(found) if is_enabled(&found) || !caller.is_policy => Ok(()),
        None if !caller.is_policy => Err(super::not_found(device)),
        Some(_) | None => Err(ApiError::new(
            ErrorCode::IotHubUnauthorizedAccess,
            format!("there is no access to modules of device {device}"),
        )),
    }
}

/// Lists the modules of a device, in order of their ids.
#[utoipa::path(
    get,
    path = "/devices/{id}/modules",
    tag = "identities",
    operation_id = "listModules",
    params(("id" = IdentityId, Path, description = "The device.")),
    responses((status = 200, description = "The modules.", body = Vec<ModuleIdentity>)),
)]
pub(super) async fn list(shared: &Shared, device: DeviceId) -> Result<Answer, ApiError> {
    let hub = shared.options.hub.clone();
    let modules = shared.peers.registry.list_modules(hub, device).await?;
    let keys = modules.iter().map(|module| module.key).collect();
    let facts = facts::ask(&shared.peers, keys).await?;
    let documents = modules
        .iter()
        .zip(facts)
        .map(|(module, facts)| identity::module_document(module, facts));
    Ok(Answer::json(&Value::Array(documents.collect())))
}

/// Reads the identity of a module.
#[utoipa::path(
    get,
    path = "/devices/{id}/modules/{module}",
    tag = "identities",
    operation_id = "getModule",
    params(
        ("id" = IdentityId, Path, description = "The device."),
        ("module" = IdentityId, Path, description = "The module."),
    ),
    responses((status = 200, description = "The identity.", body = ModuleIdentity)),
)]
pub(super) async fn get(shared: &Shared, name: IdentityName) -> Result<Answer, ApiError> {
    let module = find(shared, &name).await?;
    let facts = facts::ask_one(&shared.peers, &module).await?;
    Ok(Answer::json(&identity::module_document(&module, facts)))
}

/// Creates the identity of a module; with `If-Match` replaces it.
#[utoipa::path(
    put,
    path = "/devices/{id}/modules/{module}",
    tag = "identities",
    operation_id = "putModule",
    params(
        ("id" = IdentityId, Path, description = "The device."),
        ("module" = IdentityId, Path, description = "The module; ids that begin with `$` are the hub's own."),
        ("If-Match" = Option<String>, Header, description = "`*`, or an etag."),
    ),
    request_body = NewModuleIdentity,
    responses((status = 200, description = "The identity as it is now.", body = ModuleIdentity)),
)]
pub(super) async fn put(
    shared: &Shared,
    name: IdentityName,
    if_match: IfMatch,
    body: &[u8],
    by: Actor,
) -> Result<Answer, ApiError> {
    let body = parse_object(body)?;
    let spec = identity::parse_spec(&body, &name, &*shared.peers.ids)?;
    let hub = shared.options.hub.clone();
    let twins = &shared.peers.twins;
    let module = twins.put_device(hub, name, spec, if_match, by).await?;
    let facts = facts::ask_after_write(&shared.peers, &module).await;
    Ok(Answer::json(&identity::module_document(&module, facts)))
}

/// Deletes the identity of a module and its twin.
#[utoipa::path(
    delete,
    path = "/devices/{id}/modules/{module}",
    tag = "identities",
    operation_id = "deleteModule",
    params(
        ("id" = IdentityId, Path, description = "The device."),
        ("module" = IdentityId, Path, description = "The module."),
        ("If-Match" = Option<String>, Header, description = "`*`, or an etag."),
    ),
    responses((status = 204, description = "It is gone.")),
)]
pub(super) async fn delete(
    shared: &Shared,
    name: IdentityName,
    if_match: IfMatch,
    by: Actor,
) -> Result<Answer, ApiError> {
    let hub = shared.options.hub.clone();
    let twins = &shared.peers.twins;
    twins.delete_device(hub, name, if_match, by).await?;
    Ok(Answer::empty())
}

/// The identity of a module that is there.
pub(crate) async fn find(shared: &Shared, name: &IdentityName) -> Result<Device, ApiError> {
    let hub = shared.options.hub.clone();
    let found = shared.peers.twins.find_device(hub, name.clone()).await?;
    found.ok_or_else(|| {
        let module = name.module.as_ref().map_or("", ModuleId::as_str);
        ApiError::new(
            ErrorCode::ModuleNotFound,
            format!(
                "module {module} of device {} is not registered",
                name.device
            ),
        )
    })
}
