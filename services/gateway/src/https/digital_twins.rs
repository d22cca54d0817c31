//! Digital twins: the view of a twin by its model, patches of wishes, commands (twins.md §9, methods.md §3.4).

use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Uri};
use bytes::Bytes;
use downlink_domain::ErrorCode;
use downlink_domain::caps;
use downlink_domain::device::IfMatch;
use downlink_domain::id::DeviceId;
use downlink_domain::method::{MethodError, MethodName, MethodTimeouts};
use downlink_domain::twin::{DigitalChange, TwinChange, parse_json};
use downlink_ports::TwinView;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use serde_json::value::RawValue;

use super::answer::Answer;
use super::error::ApiError;
use super::methods::{self, Asked};
use super::openapi::schema::IdentityId;
use super::request;
use crate::shared::Shared;

/// All but the unreserved characters (RFC 3986 2.3).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Tries of a patch whose caller names no etag, when others write at the same time.
const TRIES: u32 = 5;
/// The device's status of a command.
const COMMAND_STATUS: HeaderName = HeaderName::from_static("x-ms-command-statuscode");

/// Reads the twin of a device by its model.
#[utoipa::path(
    get,
    path = "/digitaltwins/{id}",
    tag = "twins",
    operation_id = "getDigitalTwin",
    params(
        ("id" = IdentityId, Path, description = "The device."),
    ),
    responses((status = 200, description = "The digital twin.")),
)]
pub(super) async fn get(shared: &Shared, id: DeviceId) -> Result<Answer, ApiError> {
    let TwinView { device, twin } = find(shared, &id).await?;
    let view = twin.digital_view(&id, &device.model_id);
    Ok(Answer::json(&Value::Object(view)).with_etag(&twin.etag_text()))
}

async fn find(shared: &Shared, id: &DeviceId) -> Result<TwinView, ApiError> {
    let hub = shared.options.hub.clone();
    Ok(shared.peers.twins.get_twin(hub, id.clone().into()).await?)
}

/// Changes what is wished of writable properties, by a JSON Patch of `add`, `replace` and `remove`.
#[utoipa::path(
    patch,
    path = "/digitaltwins/{id}",
    tag = "twins",
    operation_id = "patchDigitalTwin",
    params(
        ("id" = IdentityId, Path, description = "The device."),
        ("If-Match" = Option<String>, Header, description = "`*`, or an etag."),
    ),
    responses((status = 202, description = "The wishes are on disk; the device is told after that.")),
)]
pub(super) async fn patch(
    shared: &Shared,
    id: DeviceId,
    if_match: IfMatch,
    body: &[u8],
) -> Result<Answer, ApiError> {
    let changes = parse_changes(body)?;
    let mut tries = 1..=TRIES;
    loop {
        let is_last = tries.next().is_none_or(|attempt| attempt == TRIES);
        let twin = find(shared, &id).await?.twin;
        let desired = twin.digital_patch(changes.clone());
        let desired = desired.map_err(|error| ApiError::new(error.code(), error.to_string()))?;
        // What is patched is what was read.
        let is_free = matches!(if_match, IfMatch::Absent | IfMatch::Any);
        let change = TwinChange::Patch {
            tags: None,
            desired: Some(desired),
            if_match: if is_free {
                IfMatch::Etag(twin.etag_text())
            } else {
                if_match.clone()
            },
        };
        let hub = shared.options.hub.clone();
        let name = id.clone().into();
        match shared.peers.twins.update_twin(hub, name, change).await {
            Ok(view) => {
                let encoded = utf8_percent_encode(id.as_str(), ENCODED);
                let location = format!("/digitaltwins/{encoded}");
                return Ok(Answer::accepted(location).with_etag(&view.twin.etag_text()));
            }
            Err(error) if error.code() == ErrorCode::PreconditionFailed && is_free && !is_last => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn parse_changes(body: &[u8]) -> Result<Vec<DigitalChange>, ApiError> {
    let Value::Array(operations) = parse_json(body)? else {
        return Err(ApiError::invalid(&"the patch must be a JSON array"));
    };
    operations.into_iter().map(parse_change).collect()
}

fn parse_change(operation: Value) -> Result<DigitalChange, ApiError> {
    let Value::Object(mut members) = operation else {
        return Err(ApiError::invalid(
            &"each operation of the patch must be an object",
        ));
    };
    let Some(Value::String(path)) = members.shift_remove("path") else {
        return Err(ApiError::invalid(&"an operation of the patch has no path"));
    };
    let value = members.shift_remove("value");
    match (members.get("op").and_then(Value::as_str), value) {
        (Some("add" | "replace"), Some(value)) => Ok(DigitalChange::Put { path, value }),
        (Some("remove"), _) => Ok(DigitalChange::Remove { path }),
        (Some("add" | "replace"), None) => Err(ApiError::invalid(
            &"an operation of the patch that puts a value has none",
        )),
        (Some(_) | None, _) => Err(ApiError::invalid(
            &"the operations of a patch are add, replace and remove",
        )),
    }
}

/// Which command of which device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) device: DeviceId,
    pub(super) component: Option<String>,
    pub(super) name: String,
}

impl Command {
    /// The method that the device knows it by (methods.md §3.4).
    pub(super) fn method(&self) -> Result<MethodName, MethodError> {
        match &self.component {
            None => self.name.parse(),
            Some(component) => format!("{component}*{}", self.name).parse(),
        }
    }
}

/// Reads what a command is called with: a payload that may be empty, and timeouts in the query.
pub(super) fn asked(command: &Command, uri: &Uri, body: &Bytes) -> Result<Asked, ApiError> {
    let payload = body.trim_ascii();
    if !payload.is_empty() {
        serde_json::from_slice::<&RawValue>(payload).map_err(|_| ApiError::unreadable())?;
    }
    let seconds = |name: &str, default: Duration| match request::find_query(uri, name) {
        None => Ok(default),
        Some(text) => {
            let seconds = text.parse().map_err(|_| MethodError::InvalidTimeouts)?;
            Ok::<_, MethodError>(Duration::from_secs(seconds))
        }
    };
    let connect = seconds("connectTimeoutInSeconds", Duration::ZERO)?;
    let response = seconds("responseTimeoutInSeconds", caps::DEFAULT_RESPONSE_TIMEOUT)?;
    Ok(Asked {
        name: command.method()?,
        payload: body.slice_ref(payload),
        timeouts: MethodTimeouts::new(connect, response)?,
    })
}

/// Calls a command of a device that is online, and answers with what the device does.
#[utoipa::path(
    post,
    path = "/digitaltwins/{id}/commands/{name}",
    tag = "methods",
    operation_id = "invokeCommand",
    params(
        ("id" = IdentityId, Path, description = "The device."),
        ("name" = String, Path, description = "The command."),
        ("connectTimeoutInSeconds" = Option<u32>, Query, description = "0 to 300."),
        ("responseTimeoutInSeconds" = Option<u32>, Query, description = "5 to 300."),
    ),
    responses((status = 200, description = "The device's payload; its status is in a header.")),
)]
pub(super) async fn invoke(
    shared: &Shared,
    device: DeviceId,
    asked: Asked,
) -> Result<Answer, ApiError> {
    let answer = methods::call(shared, device.into(), asked).await?;
    let payload = methods::payload_of(&answer)?.unwrap_or(RawValue::NULL);
    let status = HeaderValue::from(answer.status);
    Ok(Answer::text(payload.get().to_owned()).with_header(COMMAND_STATUS, status))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(component: Option<&str>) -> Command {
        Command {
            device: "dev-1".parse().unwrap(),
            component: component.map(str::to_owned),
            name: "reboot".to_owned(),
        }
    }

    #[test]
    fn a_command_is_a_method_by_the_name_of_its_component() {
        let name = |component| command(component).method().unwrap().to_string();
        assert_eq!(name(None), "reboot");
        assert_eq!(name(Some("thermostat1")), "thermostat1*reboot");
    }

    #[test]
    fn a_command_takes_any_payload_and_timeouts_from_the_query() {
        let uri = |query: &str| format!("/x?{query}").parse::<Uri>().unwrap();
        let read = |query: &str, body: &'static str| {
            asked(
                &command(None),
                &uri(query),
                &Bytes::from_static(body.as_bytes()),
            )
        };
        let call = read(
            "responseTimeoutInSeconds=60&connectTimeoutInSeconds=5",
            " 1 ",
        )
        .unwrap();
        assert_eq!(call.payload, "1");
        assert_eq!(call.timeouts.response(), Duration::from_mins(1));
        assert_eq!(call.timeouts.connect(), Duration::from_secs(5));
        assert_eq!(read("", "").unwrap().payload, "");
        for (query, body) in [
            ("responseTimeoutInSeconds=4", ""),
            ("responseTimeoutInSeconds=x", ""),
            ("connectTimeoutInSeconds=-1", ""),
            ("", "{"),
        ] {
            assert!(read(query, body).is_err(), "{query} {body}");
        }
    }

    #[test]
    fn a_patch_puts_and_removes_and_nothing_else() {
        let changes = parse_changes(
            br#"[{"op":"add","path":"/a","value":1},{"op":"replace","path":"/b","value":null},
                {"op":"remove","path":"/c"}]"#,
        );
        let put = |path: &str, value: Value| DigitalChange::Put {
            path: path.to_owned(),
            value,
        };
        let removal = DigitalChange::Remove {
            path: "/c".to_owned(),
        };
        let expected = vec![put("/a", 1.into()), put("/b", Value::Null), removal];
        assert_eq!(changes.unwrap(), expected);
        for body in [
            "{}",
            "[1]",
            r#"[{"op":"add","path":"/a"}]"#,
            r#"[{"op":"add","value":1}]"#,
            r#"[{"op":"test","path":"/a","value":1}]"#,
            r#"[{"path":"/a","value":1}]"#,
        ] {
            let code = parse_changes(body.as_bytes()).unwrap_err().code;
            assert_eq!(code, ErrorCode::ArgumentInvalid, "{body}");
        }
    }
}
