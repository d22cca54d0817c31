//! Limits: what holds, and what administrators state over what is configured.

use downlink_domain::ErrorCode;
use downlink_domain::access::Actor;
use downlink_domain::device::IfMatch;
use downlink_domain::id::DeviceId;
use downlink_domain::limits::{
    DeviceOperation, DeviceRates, HubOperation, Limit, LimitKey, LimitsChange, LimitsSnapshot,
    Replaces,
};
use serde_json::{Map, Value, json};

use crate::https::answer::Answer;
use crate::https::error::ApiError;
use crate::https::openapi::schema::{IdentityId, limits as schema};
use crate::https::request::parse_object;
use crate::shared::Shared;

/// Tells what holds for the hub and for each device, and what of it was stated here.
#[utoipa::path(
    get,
    path = "/admin/limits",
    tag = "administration",
    operation_id = "getLimits",
    responses((status = 200, description = "The limits.", body = schema::Limits, headers(("ETag" = String, description = "The etag, quoted.")))),
)]
pub(in crate::https) async fn get(shared: &Shared) -> Result<Answer, ApiError> {
    Ok(general(shared, &read(shared).await?))
}

/// States the limits of the hub and of each device. What is left out is as configured.
#[utoipa::path(
    put,
    path = "/admin/limits",
    tag = "administration",
    operation_id = "putLimits",
    params(("If-Match" = Option<String>, Header, description = "`*`, or an etag.")),
    request_body = schema::StatedLimits,
    responses((status = 200, description = "The limits as they are now.", body = schema::Limits, headers(("ETag" = String, description = "The etag, quoted.")))),
)]
pub(in crate::https) async fn put(
    shared: &Shared,
    if_match: IfMatch,
    by: Actor,
    body: &[u8],
) -> Result<Answer, ApiError> {
    let change = LimitsChange {
        replaces: Replaces::General,
        entries: read_general(&parse_object(body)?)?,
    };
    let changed = write(shared, change, if_match, by).await?;
    Ok(general(shared, &changed))
}

/// Changes some limits of the hub and of each device; null is as configured.
#[utoipa::path(
    patch,
    path = "/admin/limits",
    tag = "administration",
    operation_id = "patchLimits",
    params(("If-Match" = Option<String>, Header, description = "`*`, or an etag.")),
    request_body = schema::StatedLimits,
    responses((status = 200, description = "The limits as they are now.", body = schema::Limits, headers(("ETag" = String, description = "The etag, quoted.")))),
)]
pub(in crate::https) async fn patch(
    shared: &Shared,
    if_match: IfMatch,
    by: Actor,
    body: &[u8],
) -> Result<Answer, ApiError> {
    let change = LimitsChange {
        replaces: Replaces::Nothing,
        entries: read_general(&parse_object(body)?)?,
    };
    let changed = write(shared, change, if_match, by).await?;
    Ok(general(shared, &changed))
}

/// Tells what was stated of single devices.
#[utoipa::path(
    get,
    path = "/admin/limits/devices",
    tag = "administration",
    operation_id = "listDeviceLimits",
    responses((status = 200, description = "Limits by device, at most 1,000.", body = schema::LimitsByDevice, headers(("ETag" = String, description = "The etag, quoted.")))),
)]
pub(in crate::https) async fn list_devices(shared: &Shared) -> Result<Answer, ApiError> {
    let stated = read(shared).await?;
    let mut json = stated.overrides.to_json();
    Ok(Answer::json(&json["devices"].take()).with_etag(&stated.version))
}

/// Tells what holds for a device and its modules, and what of it was stated for it alone.
#[utoipa::path(
    get,
    path = "/admin/limits/devices/{id}",
    tag = "administration",
    operation_id = "getDeviceLimits",
    params(("id" = IdentityId, Path, description = "The device.")),
    responses((status = 200, description = "Its limits.", body = schema::LimitsOfDevice, headers(("ETag" = String, description = "The etag, quoted.")))),
)]
pub(in crate::https) async fn get_device(shared: &Shared, id: &str) -> Result<Answer, ApiError> {
    let id = device_id(id)?;
    Ok(of_device(shared, &id, &read(shared).await?))
}

/// States the limits of a device and its modules. What is left out is as for every device.
#[utoipa::path(
    put,
    path = "/admin/limits/devices/{id}",
    tag = "administration",
    operation_id = "putDeviceLimits",
    params(
        ("id" = IdentityId, Path, description = "The device."),
        ("If-Match" = Option<String>, Header, description = "`*`, or an etag."),
    ),
    request_body = schema::DeviceLimits,
    responses((status = 200, description = "Its limits as they are now.", body = schema::LimitsOfDevice, headers(("ETag" = String, description = "The etag, quoted.")))),
)]
pub(in crate::https) async fn put_device(
    shared: &Shared,
    id: &str,
    if_match: IfMatch,
    by: Actor,
    body: &[u8],
) -> Result<Answer, ApiError> {
    let id = device_id(id)?;
    let limits = read_devices(&parse_object(body)?)?;
    let entries = limits
        .into_iter()
        .map(|(operation, limit)| (LimitKey::Device(id.clone(), operation), limit));
    let change = LimitsChange {
        replaces: Replaces::Device(id.clone()),
        entries: entries.collect(),
    };
    let changed = write(shared, change, if_match, by).await?;
    Ok(of_device(shared, &id, &changed))
}

/// Forgets what was stated for a device alone.
#[utoipa::path(
    delete,
    path = "/admin/limits/devices/{id}",
    tag = "administration",
    operation_id = "deleteDeviceLimits",
    params(
        ("id" = IdentityId, Path, description = "The device."),
        ("If-Match" = Option<String>, Header, description = "`*`, or an etag."),
    ),
    responses((status = 204, description = "It has the limits of every device.")),
)]
pub(in crate::https) async fn delete_device(
    shared: &Shared,
    id: &str,
    if_match: IfMatch,
    by: Actor,
) -> Result<Answer, ApiError> {
    let change = LimitsChange {
        replaces: Replaces::Device(device_id(id)?),
        entries: Vec::new(),
    };
    write(shared, change, if_match, by).await?;
    Ok(Answer::empty())
}

async fn read(shared: &Shared) -> Result<LimitsSnapshot, ApiError> {
    let hub = shared.options.hub.clone();
    let stated = shared.peers.limits.limits(hub, None).await?;
    Ok(stated.unwrap_or_default())
}

/// Writes a change; this gateway goes by it at once, the others when they look next.
async fn write(
    shared: &Shared,
    change: LimitsChange,
    if_match: IfMatch,
    by: Actor,
) -> Result<LimitsSnapshot, ApiError> {
    let hub = shared.options.hub.clone();
    let changing = shared.peers.limits.change_limits(hub, change, if_match, by);
    let changed = changing.await?;
    shared.limits.take(Some(changed.clone()));
    Ok(changed)
}

fn general(shared: &Shared, stated: &LimitsSnapshot) -> Answer {
    let plan = shared.limits.options().plan.under(&stated.overrides);
    let hub = HubOperation::ALL.iter().map(|operation| {
        let limit = Limit::from(plan.hub.of(*operation));
        (operation.name().to_owned(), limit.to_string().into())
    });
    let mut overrides = stated.overrides.to_json();
    let document = json!({
        "hub": Value::Object(hub.collect()),
        "device": effective(&plan.device),
        "stated": {
            "hub": overrides["hub"].take(),
            "device": overrides["device"].take(),
        },
    });
    Answer::json(&document).with_etag(&stated.version)
}

fn of_device(shared: &Shared, id: &DeviceId, stated: &LimitsSnapshot) -> Answer {
    let plan = shared.limits.options().plan.under(&stated.overrides);
    let rates = plan.of_device(&stated.overrides, id);
    let own = stated.overrides.of_device(id);
    let own = own.map(|(operation, limit)| (operation.name().to_owned(), limit.to_string().into()));
    let document = json!({
        "deviceId": id.as_str(),
        "device": effective(&rates),
        "stated": Value::Object(own.collect()),
    });
    Answer::json(&document).with_etag(&stated.version)
}

fn effective(rates: &DeviceRates) -> Value {
    let rates = DeviceOperation::ALL.iter().map(|operation| {
        let limit = Limit::from(rates.of(*operation));
        (operation.name().to_owned(), limit.to_string().into())
    });
    Value::Object(rates.collect())
}

type Stated = Vec<(LimitKey, Option<Limit>)>;

fn read_general(body: &Map<String, Value>) -> Result<Stated, ApiError> {
    let mut stated = Vec::new();
    for (name, limits) in body {
        match name.as_str() {
            "hub" => {
                for (name, limit) in object(name, limits)? {
                    let operation = HubOperation::find(name).ok_or_else(|| unknown(name))?;
                    stated.push((LimitKey::Hub(operation), read_limit(name, limit)?));
                }
            }
            "device" => {
                let limits = read_devices(object(name, limits)?)?;
                let limits = limits.into_iter();
                stated.extend(
                    limits.map(|(operation, limit)| (LimitKey::EachDevice(operation), limit)),
                );
            }
            // A document that was read may be sent back as it is.
            "stated" => {}
            other => return Err(unknown(other)),
        }
    }
    Ok(stated)
}

fn read_devices(
    limits: &Map<String, Value>,
) -> Result<Vec<(DeviceOperation, Option<Limit>)>, ApiError> {
    let read = |(name, limit): (&String, &Value)| {
        let operation = DeviceOperation::find(name).ok_or_else(|| unknown(name))?;
        Ok((operation, read_limit(name, limit)?))
    };
    limits.iter().map(read).collect()
}

fn read_limit(name: &str, limit: &Value) -> Result<Option<Limit>, ApiError> {
    match limit {
        Value::Null => Ok(None),
        Value::String(text) => {
            let limit = text.parse();
            limit
                .map(Some)
                .map_err(|error| ApiError::invalid(&format!("{name} is {error}")))
        }
        _ => Err(ApiError::invalid(&format!("{name} must be text or null"))),
    }
}

fn object<'a>(name: &str, value: &'a Value) -> Result<&'a Map<String, Value>, ApiError> {
    let object = value.as_object();
    object.ok_or_else(|| ApiError::invalid(&format!("{name} must be an object")))
}

fn unknown(name: &str) -> ApiError {
    let text = format!("there is no limit called {name:?}");
    ApiError::new(ErrorCode::ArgumentInvalid, text)
}

fn device_id(text: &str) -> Result<DeviceId, ApiError> {
    text.parse().map_err(|error| ApiError::invalid(&error))
}
