//! Many identities in one call (registry.md §4, §1 row 22).

use axum::http::{HeaderName, HeaderValue, StatusCode};
use downlink_domain::ErrorCode;
use downlink_domain::access::{Access, Action, Actor};
use downlink_domain::id::IdentityName;
use downlink_ports::{ItemOutcome, MAX_REGISTRY_ITEMS, RegistryItem};
use futures::future::join_all;
use serde_json::{Value, json};

use self::item::{Mode, Named};
use super::answer::Answer;
use super::error::ApiError;
use super::openapi::schema::bulk::{
    BulkIdentity, BulkResult, KeyRotation, KeyRotationResult,
};
use crate::audit::Origin;
use crate::authenticate::Principal;
use crate::shared::Shared;

mod item;
mod keys;

/// The header that clients look for where a result has failures in it, beside the usual one.
const ERROR_CODE: HeaderName = HeaderName::from_static("iothuberrorcode");

/// What is asked of many identities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Write,
    RegenerateKeys,
}

/// Who asks, and what for.
pub(super) struct Caller<'a> {
    pub(super) principal: &'a Principal,
    pub(super) actor: Actor,
    pub(super) origin: Origin,
}

/// An item as it was asked for: whose, and what of it is to be done, if that can be done.
struct Asked<T> {
    named: Named,
    what: Result<(IdentityName, T), ApiError>,
}

pub(super) async fn answer(
    shared: &Shared,
    call: Call,
    caller: Caller<'_>,
    body: &[u8],
) -> Result<Answer, ApiError> {
    match call {
        Call::Write => write(shared, caller, body).await,
        Call::RegenerateKeys => regenerate_keys(shared, caller, body).await,
    }
}

/// Creates, replaces and deletes identities and patches twins, each item for itself.
#[utoipa::path(
    post,
    path = "/devices",
    tag = "identities",
    operation_id = "writeDevices",
    request_body = Vec<BulkIdentity>,
    responses(
        (status = 200, description = "All items are done.", body = BulkResult),
        (status = 400, description = "Some items are not done.", body = BulkResult),
    ),
)]
async fn write(shared: &Shared, caller: Caller<'_>, body: &[u8]) -> Result<Answer, ApiError> {
    let asked = item::parse(body, &*shared.peers.ids)?;
    let (asked, modes): (Vec<_>, Vec<_>) = asked
        .into_iter()
        .map(|(asked, mode)| (asked, mode.map_or("", Mode::name)))
        .unzip();
    let done = carry_out(shared, caller, asked).await?;
    let errors: Vec<Value> = done
        .iter()
        .zip(modes)
        .filter_map(|((named, outcome), mode)| {
            let error = outcome.as_ref().err()?;
            Some(json!({
                "deviceId": named.device,
                "moduleId": named.module,
                "errorCode": error.code.number(),
                "errorStatus": error.code.name(),
                "operation": mode,
            }))
        })
        .collect();
    let is_successful = errors.is_empty();
    let answer = Answer::json(&json!({
        "isSuccessful": is_successful,
        "errors": errors,
        "warnings": [],
    }));
    Ok(if is_successful {
        answer
    } else {
        failed(answer, ErrorCode::BulkRegistryOperationFailure)
    })
}

/// Exchanges symmetric keys of devices and modules for new ones.
#[utoipa::path(
    post,
    path = "/devices/keys/regenerate",
    tag = "identities",
    operation_id = "regenerateKeys",
    request_body = KeyRotation,
    responses(
        (status = 200, description = "All keys are exchanged.", body = KeyRotationResult),
        (status = 207, description = "Some keys are exchanged.", body = KeyRotationResult),
        (status = 400, description = "No key is exchanged.", body = KeyRotationResult),
    ),
)]
async fn regenerate_keys(
    shared: &Shared,
    caller: Caller<'_>,
    body: &[u8],
) -> Result<Answer, ApiError> {
    let rotation = keys::parse(body, &*shared.peers.ids)?;
    let done = carry_out(shared, caller, rotation.asked).await?;
    let (mut rotated, mut errors) = (Vec::new(), Vec::new());
    for (named, outcome) in &done {
        match outcome {
            Ok(device) => rotated.push(keys::document(device, rotation.keys)),
            Err(error) => errors.push(json!({
                "id": named.device,
                "moduleId": named.module,
                "errorCode": error.code.number(),
                "errorStatus": error.code.name(),
            })),
        }
    }
    let (none_done, all_done) = (rotated.is_empty(), errors.is_empty());
    let answer = Answer::json(&json!({
        "policyKey": rotation.word,
        "rotatedKeys": rotated,
        "errors": errors,
    }))
    .unstored();
    Ok(if all_done {
        answer
    } else if none_done {
        failed(answer, ErrorCode::BulkRegenerateDeviceKeyOperationFailure)
    } else {
        answer.with_status(StatusCode::MULTI_STATUS)
    })
}

/// A result with failures in it: a failure by its status and headers, a result by its body.
fn failed(answer: Answer, code: ErrorCode) -> Answer {
    let name = HeaderValue::from_static(code.name());
    answer
        .with_status(StatusCode::BAD_REQUEST)
        .with_header(ERROR_CODE, name.clone())
        .with_header(HeaderName::from_static("iothub-errorcode"), name)
}

/// What became of the items, by position; what the caller has no right to is refused alone.
async fn carry_out(
    shared: &Shared,
    caller: Caller<'_>,
    asked: Vec<Asked<(Action, downlink_ports::ItemChange)>>,
) -> Result<Vec<(Named, Result<downlink_domain::device::Device, ApiError>)>, ApiError> {
    let checks = asked.into_iter().map(|asked| check(shared, &caller, asked));
    let checked = join_all(checks).await;
    let mut items = Vec::new();
    let mut answers: Vec<(Named, Result<usize, ApiError>)> = Vec::with_capacity(checked.len());
    for Asked { named, what } in checked {
        let place = what.map(|(name, (_, change))| {
            items.push(RegistryItem { name, change });
            items.len() - 1
        });
        answers.push((named, place));
    }
    let outcomes: Vec<ItemOutcome> = if items.is_empty() {
        Vec::new()
    } else {
        let hub = shared.options.hub.clone();
        let registry = &shared.peers.registry;
        registry.write_identities(hub, items, caller.actor).await?
    };
    let mut outcomes: Vec<Option<ItemOutcome>> = outcomes.into_iter().map(Some).collect();
    let done = answers.into_iter().map(|(named, place)| {
        let outcome = place.and_then(|place| {
            let outcome = outcomes.get_mut(place).and_then(Option::take);
            let outcome = outcome.ok_or_else(ApiError::deadline)?;
            outcome.map_err(ApiError::from)
        });
        (named, outcome)
    });
    Ok(done.collect())
}

/// Checks the right to an item.
async fn check(
    shared: &Shared,
    caller: &Caller<'_>,
    asked: Asked<(Action, downlink_ports::ItemChange)>,
) -> Asked<(Action, downlink_ports::ItemChange)> {
    let Ok((name, (action, _))) = &asked.what else {
        return asked;
    };
    let path = ["devices", name.device.as_str()];
    let access = Access::to_device(*action, &name.device);
    let authenticator = &shared.authenticator;
    let checked = authenticator.authorize(caller.principal, &access, &path);
    match checked.await {
        Ok(()) => asked,
        Err(denied) => {
            let audit = &shared.audit;
            audit.denied(caller.origin, caller.principal, *action, &path, &denied);
            Asked {
                what: Err(denied.into()),
                ..asked
            }
        }
    }
}

/// Reads the items of a list of at most [`MAX_REGISTRY_ITEMS`].
fn listed(items: Vec<Value>) -> Result<Vec<downlink_domain::twin::Object>, ApiError> {
    if items.len() > MAX_REGISTRY_ITEMS {
        return Err(ApiError::new(
            ErrorCode::TooManyDevices,
            format!("a call has at most {MAX_REGISTRY_ITEMS} devices"),
        ));
    }
    let object = |item| match item {
        Value::Object(item) => Ok(item),
        _ => Err(ApiError::invalid(&"each item must be a JSON object")),
    };
    items.into_iter().map(object).collect()
}
