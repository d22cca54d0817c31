//! Twin requests, their replies and notifications as AMQP messages (amqp.md §7).

use bytes::Bytes;
use downlink_amqp::message::{Body, Encoded, Message, MessageId, Properties};
use downlink_amqp::types::{Symbol, Value};
use downlink_domain::ErrorCode;
use downlink_domain::twin::{Twin, TwinChange};
use downlink_ports::Notify;
use serde_json::Value as Json;

use crate::amqp::payload::{self, Refused, read_body};
use crate::device::{TwinRefusal, reported};
use crate::tracking::Tracking;

const STATUS: Symbol = Symbol::from_static("status");
const VERSION: Symbol = Symbol::from_static("version");
const RESOURCE: Symbol = Symbol::from_static("resource");
/// Resource of a report.
const REPORTED: &str = "/properties/reported";
/// Resource of a notification.
const DESIRED: &str = "/properties/desired";
/// Resource that is put to be notified, and deleted to be so no more.
const NOTIFICATIONS: &str = "/notifications/twin/properties/desired";
/// Status of whatever went well; every SDK takes it for every operation.
const OK: i32 = 200;
/// Bytes that an id may have: it waits with its request and is written into the reply.
const MAX_ID_BYTES: usize = 256;

/// What a device asks of its twin.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TwinRequest {
    /// Read it.
    Get,
    /// Write reported properties; always a [`TwinChange::Report`].
    Report(TwinChange),
    /// Be notified of changes of desired properties, those after the version that is named first: this hub's own addition.
    Subscribe(Option<u64>),
    /// Be so no more.
    Unsubscribe,
}

/// A request and the id of its reply.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Asked {
    /// Id that the reply repeats, with its type.
    pub(super) correlation_id: MessageId,
    /// What is asked for, or the reply to what nobody can be asked.
    pub(super) request: Result<TwinRequest, TwinRefusal>,
}

/// Reads a request.
///
/// # Errors
/// [`Refused`] when it is no message, or names no id by which it could be answered: without one a
/// reply would pass for a notification.
pub(super) fn read_request(encoded: &Bytes) -> Result<Asked, Refused> {
    let mut message = payload::decode(encoded)?;
    let id = message.properties.correlation_id.take();
    let id = id.filter(|id| bytes_of(id) <= MAX_ID_BYTES);
    let Some(correlation_id) = id else {
        let text =
            format!("a twin request must have a correlation-id of {MAX_ID_BYTES} bytes at most");
        return Err(Refused::new(ErrorCode::ArgumentInvalid, text));
    };
    let request = read_operation(message);
    Ok(Asked {
        correlation_id,
        request,
    })
}

fn bytes_of(id: &MessageId) -> usize {
    match id {
        MessageId::Ulong(_) => 8,
        MessageId::Uuid(_) => 16,
        MessageId::Binary(bytes) => bytes.len(),
        MessageId::String(text) => text.len(),
    }
}

fn read_operation(message: Message) -> Result<TwinRequest, TwinRefusal> {
    let text = |name| message.annotation(name).and_then(Value::as_text);
    let resource = text("resource").unwrap_or_default();
    let on_notifications = resource.eq_ignore_ascii_case(NOTIFICATIONS);
    match text("operation") {
        Some("GET") if resource.is_empty() => Ok(TwinRequest::Get),
        Some("PATCH") if resource.eq_ignore_ascii_case(REPORTED) => {
            let version = read_version(message.annotation("version"))?;
            let body = read_body(message.body)
                .map_err(|refused| TwinRefusal::new(refused.code, refused.text))?;
            reported::read_report(&body, version).map(TwinRequest::Report)
        }
        Some("PUT") if on_notifications => {
            let version = read_version(message.annotation("version"))?;
            Ok(TwinRequest::Subscribe(version))
        }
        Some("DELETE") if on_notifications => Ok(TwinRequest::Unsubscribe),
        _ => Err(TwinRefusal::new(
            ErrorCode::ArgumentInvalid,
            "the twin has no such operation on this resource",
        )),
    }
}

/// Reads the version that a report is meant for. C# always sends the key, without a value.
fn read_version(version: Option<&Value>) -> Result<Option<u64>, TwinRefusal> {
    let number = match version {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Int(number)) => u64::try_from(*number).ok(),
        Some(Value::Long(number)) => u64::try_from(*number).ok(),
        Some(Value::Uint(number)) => Some(u64::from(*number)),
        Some(Value::Ulong(number)) => Some(*number),
        Some(_) => None,
    };
    match number {
        Some(number) => Ok(Some(number)),
        None => Err(reported::unreadable_version()),
    }
}

/// Returns the encoded reply to a GET: what a device may see, without metadata.
pub(super) fn encode_twin(id: MessageId, twin: &Twin) -> Encoded {
    let body = Json::Object(twin.device_view()).to_string();
    encode_reply(id, vec![(STATUS, Value::Int(OK))], Body::Data(body.into()))
}

/// Returns the encoded reply to a report that made `version` of reported. It has no body: Node
/// would read any as JSON.
pub(super) fn encode_reported(id: MessageId, version: u64) -> Encoded {
    let annotations = vec![(STATUS, Value::Int(OK)), (VERSION, long(version))];
    encode_reply(id, annotations, Body::Empty)
}

/// Returns the encoded reply to a PUT or DELETE.
pub(super) fn encode_done(id: MessageId) -> Encoded {
    encode_reply(id, vec![(STATUS, Value::Int(OK))], Body::Empty)
}

/// Returns the encoded reply to a request that was refused.
pub(super) fn encode_refusal(id: MessageId, refusal: &TwinRefusal, tracking: &Tracking) -> Encoded {
    let status = i32::from(refusal.code().http_status());
    let body = Body::Data(refusal.body(tracking));
    encode_reply(id, vec![(STATUS, Value::Int(status))], body)
}

/// Returns the encoded notification of changed desired properties. SDKs know it by its having no
/// correlation-id.
pub(super) fn encode_desired(change: &Notify) -> Encoded {
    Message {
        annotations: vec![
            (RESOURCE, Value::from(DESIRED)),
            (VERSION, long(change.version)),
        ],
        body: Body::Data(change.body.clone()),
        ..Message::default()
    }
    .into_encoded()
}

fn encode_reply(id: MessageId, annotations: Vec<(Symbol, Value)>, body: Body) -> Encoded {
    Message {
        annotations,
        properties: Properties {
            correlation_id: Some(id),
            ..Properties::default()
        },
        body,
        ..Message::default()
    }
    .into_encoded()
}

/// Returns a version as C reads it.
fn long(version: u64) -> Value {
    Value::Long(i64::try_from(version).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
