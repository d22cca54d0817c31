//! Many identities in one call (registry.md §4, §1 row 22).

use axum::http::{HeaderName, HeaderValue, StatusCode};
use downlink_domain::ErrorCode;
use downlink_domain::device::Device;
use downlink_domain::twin::Object;
use downlink_ports::MAX_REGISTRY_ITEMS;
use serde_json::{Value, json};

use self::item::{Mode, Named};
use super::answer::Answer;
use super::error::ApiError;
use super::openapi::schema::bulk::{BulkIdentity, BulkResult, KeyRotation, KeyRotationResult};
use crate::identities::{self, Asked, Caller};
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

/// An item as it was asked for: whose, and what of it is to be done, if that can be done.
struct Item {
    named: Named,
    asked: Asked,
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
    let items = item::parse(body, &*shared.peers.ids)?;
    let (items, modes): (Vec<_>, Vec<_>) = items
        .into_iter()
        .map(|(item, mode)| (item, mode.map_or("", Mode::name)))
        .unzip();
    let done = carry_out(shared, caller, items).await?;
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
    let done = carry_out(shared, caller, rotation.items).await?;
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

/// What became of the items, by position.
async fn carry_out(
    shared: &Shared,
    caller: Caller<'_>,
    items: Vec<Item>,
) -> Result<Vec<(Named, Result<Device, ApiError>)>, ApiError> {
    let (named, asked): (Vec<_>, Vec<_>) = items
        .into_iter()
        .map(|item| (item.named, item.asked))
        .unzip();
    let done = identities::write(shared, caller, asked).await?;
    Ok(named.into_iter().zip(done).collect())
}

/// Reads the items of a list of at most [`MAX_REGISTRY_ITEMS`].
fn listed(items: Vec<Value>) -> Result<Vec<Object>, ApiError> {
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
