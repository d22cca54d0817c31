//! Direct methods: one call, one outcome (methods.md §1, §2). The size of payloads is a setting
//! of the method router, which checks it.

use std::time::Duration;

use bytes::Bytes;
use downlink_domain::caps;
use downlink_domain::device::{Device, DeviceStatus};
use downlink_domain::id::{HubName, IdentityName};
use downlink_domain::limits::HubOperation;
use downlink_domain::method::{MethodAnswer, MethodCall, MethodError, MethodName, MethodTimeouts};
use downlink_domain::{ErrorCode, Timestamp};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::time::timeout;

use super::answer::Answer;
use super::error::ApiError;
use super::openapi::schema::IdentityId;
use super::openapi::schema::method::{MethodRequest, MethodResponse};
use super::serve::end_of_patience;
use crate::limits::Limits;
use crate::shared::Shared;

/// What the hub may take beyond the response timeout before the door gives up by itself.
pub(crate) const SLACK: Duration = Duration::from_secs(5);
/// What calls under way have left once the gateway drains.
const LAST_CALLS: Duration = Duration::from_secs(5);

/// The body of a call; what else it holds is ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CallBody<'a> {
    method_name: Option<String>,
    /// Passed on as it was written, `null` too; absent is not `null`.
    #[serde(borrow, default, deserialize_with = "present")]
    payload: Option<&'a RawValue>,
    response_timeout_in_seconds: Option<i64>,
    connect_timeout_in_seconds: Option<i64>,
    /// The response timeout in the first versions of the contract.
    timeout_in_seconds: Option<i64>,
}

fn present<'de: 'a, 'a, D: Deserializer<'de>>(value: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(value).map(Some)
}

/// Calls a method of a device that is online, and waits for its answer.
#[utoipa::path(
    post,
    path = "/twins/{id}/methods",
    tag = "methods",
    operation_id = "invokeMethod",
    params(
        ("id" = IdentityId, Path, description = "The device."),
    ),
    request_body = MethodRequest,
    responses((status = 200, description = "What the device answered.", body = MethodResponse)),
)]
pub(super) async fn invoke(
    shared: &Shared,
    name: IdentityName,
    asked: Asked,
) -> Result<Answer, ApiError> {
    let answer = call(shared, name, asked).await?;
    render(&answer)
}

/// Makes a call; it ends at its response timeout and a little, or when the gateway has drained long enough.
pub(crate) async fn call(
    shared: &Shared,
    name: IdentityName,
    asked: Asked,
) -> Result<MethodAnswer, ApiError> {
    let cost = Limits::cost_of_call(asked.payload.len());
    let limits = &shared.limits;
    limits.admit(HubOperation::MethodCall, cost).await?;
    let hub = shared.options.hub.clone();
    let target = find_target(shared, &hub, name).await?;
    let is_new = target.connection_state_updated_at == Timestamp::UNSET;
    let call = MethodCall {
        hub,
        target: target.name,
        device: target.key,
        name: asked.name,
        payload: asked.payload,
        timeouts: asked.timeouts,
    };
    let deadline = asked.timeouts.response() + SLACK;
    let answered = timeout(deadline, shared.peers.methods.invoke(call));
    tokio::select! {
        answered = answered => match answered.map_err(|_| MethodError::TimedOut)? {
            // It may have connected for the first time meanwhile, and be gone again.
            Err(MethodError::NotOnline) if is_new => Err(MethodError::NeverConnected.into()),
            outcome => Ok(outcome?),
        },
        () = end_of_patience(&shared.lifecycle, LAST_CALLS) => Err(ApiError::new(
            ErrorCode::ServiceUnavailable,
            "the node is going away and what became of the call is unknown",
        )),
    }
}

/// Finds whom a call is for; of a module, it and its device must both be there and enabled.
async fn find_target(
    shared: &Shared,
    hub: &HubName,
    name: IdentityName,
) -> Result<Device, ApiError> {
    let find = |name| shared.peers.twins.find_device(hub.clone(), name);
    let owner = IdentityName::from(name.device.clone());
    if name.module.is_none() {
        let device = find(name).await?.ok_or(MethodError::DeviceNotFound)?;
        return enabled(device);
    }
    let (owner, module) = futures::try_join!(find(owner), find(name))?;
    let owner = owner.ok_or(MethodError::DeviceNotFound)?;
    let module = module.ok_or(MethodError::ModuleNotFound)?;
    enabled(owner)?;
    enabled(module)
}

fn enabled(device: Device) -> Result<Device, ApiError> {
    match device.status {
        DeviceStatus::Enabled => Ok(device),
        DeviceStatus::Disabled => Err(MethodError::Disabled.into()),
    }
}

/// What a caller asks for.
pub(crate) struct Asked {
    pub(crate) name: MethodName,
    /// JSON text, empty when there is none.
    pub(crate) payload: Bytes,
    pub(crate) timeouts: MethodTimeouts,
}

/// Reads the body of a call.
pub(super) fn parse(body: &[u8]) -> Result<Asked, ApiError> {
    let text = std::str::from_utf8(body).map_err(|_| ApiError::unreadable())?;
    let body: CallBody<'_> = serde_json::from_str(text).map_err(|error| {
        if error.is_data() {
            ApiError::invalid(&"a member of the body has the wrong type")
        } else {
            ApiError::unreadable()
        }
    })?;
    let payload = body.payload.map_or("", RawValue::get);
    let response = body.response_timeout_in_seconds.or(body.timeout_in_seconds);
    let response = response.map_or(Ok(caps::DEFAULT_RESPONSE_TIMEOUT), seconds)?;
    let connect = body
        .connect_timeout_in_seconds
        .map_or(Ok(Duration::ZERO), seconds)?;
    Ok(Asked {
        name: body.method_name.as_deref().unwrap_or_default().parse()?,
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        timeouts: MethodTimeouts::new(connect, response)?,
    })
}

fn seconds(number: i64) -> Result<Duration, MethodError> {
    let number = u64::try_from(number).map_err(|_| MethodError::InvalidTimeouts)?;
    Ok(Duration::from_secs(number))
}

/// Puts the device's own text into the answer; an empty one stands for `null`.
fn render(answer: &MethodAnswer) -> Result<Answer, ApiError> {
    let payload = payload_of(answer)?.unwrap_or(RawValue::NULL);
    let status = answer.status;
    Ok(Answer::text(format!(
        r#"{{"status":{status},"payload":{payload}}}"#
    )))
}

/// The device's own text, `None` when it sent none.
pub(crate) fn payload_of(answer: &MethodAnswer) -> Result<Option<&RawValue>, MethodError> {
    match &answer.payload[..] {
        [] => Ok(None),
        text => serde_json::from_slice(text)
            .map(Some)
            .map_err(|_| MethodError::BadAnswer),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(body: &str) -> Result<Asked, ErrorCode> {
        parse(body.as_bytes()).map_err(|error| error.code)
    }

    #[test]
    fn timeouts_have_their_defaults_and_the_older_name() {
        let both = |body: &str| {
            let timeouts = asked(body).unwrap().timeouts;
            (timeouts.connect().as_secs(), timeouts.response().as_secs())
        };
        assert_eq!(both(r#"{"methodName":"m"}"#), (0, 30));
        assert_eq!(both(r#"{"methodName":"m","timeoutInSeconds":60}"#), (0, 60));
        assert_eq!(
            both(
                r#"{"methodName":"m","responseTimeoutInSeconds":200,"connectTimeoutInSeconds":5}"#
            ),
            (5, 200)
        );
        assert_eq!(
            both(r#"{"methodName":"m","responseTimeoutInSeconds":null,"x":[]}"#),
            (0, 30)
        );
    }

    #[test]
    fn arguments_outside_their_rules_are_refused() {
        for body in [
            r"{}",
            r#"{"methodName":""}"#,
            r#"{"methodName":"a b"}"#,
            r#"{"methodName":7}"#,
            r"[]",
            r#"{"methodName":"m","responseTimeoutInSeconds":4}"#,
            r#"{"methodName":"m","responseTimeoutInSeconds":301}"#,
            r#"{"methodName":"m","responseTimeoutInSeconds":-1}"#,
            r#"{"methodName":"m","responseTimeoutInSeconds":9.5}"#,
            r#"{"methodName":"m","connectTimeoutInSeconds":31}"#,
        ] {
            assert_eq!(
                asked(body).err(),
                Some(ErrorCode::ArgumentInvalid),
                "{body}"
            );
        }
        assert_eq!(asked("{").err(), Some(ErrorCode::IotHubFormatError));
    }

    #[test]
    fn the_payload_keeps_its_text_and_absent_is_not_null() {
        let payload = |body: &str| asked(body).unwrap().payload;
        assert_eq!(payload(r#"{"methodName":"m"}"#), "");
        assert_eq!(payload(r#"{"methodName":"m","payload":null}"#), "null");
        assert_eq!(
            payload(r#"{"methodName":"m","payload": {"a" : 1.0e2} }"#),
            r#"{"a" : 1.0e2}"#
        );
    }
}
