//! A message from a back-end as the hub keeps it (c2d.md §3.1, amqp.md §8.2).

use bytes::{Bytes, BytesMut};
use downlink_amqp::engine::IncomingMessage;
use downlink_amqp::message::{Body, FORMAT_PLAIN, Message};
use downlink_amqp::types::{Decode, Reader, Symbol, Timestamp as AmqpTimestamp, Value};
use downlink_domain::id::{DeviceId, HubName};
use downlink_domain::message::{AckMode, NewMessage, Properties};
use downlink_domain::{ErrorCode, Timestamp};

use super::address::parse_target;

/// Application property that carries the ack mode.
const ACK: &str = "iothub-ack";

/// A message for the queue.
#[derive(Debug)]
pub(super) struct Command {
    /// The message, addressed by the id as it stands in `to`.
    pub(super) message: NewMessage,
    /// The other reading of the id (amqp.md §8.2).
    pub(super) other_device: Option<DeviceId>,
}

/// Why a message cannot be taken.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Code of the catalogue.
    pub(super) code: ErrorCode,
    /// Text for the sender.
    pub(super) text: String,
}

fn refused<T>(code: ErrorCode, text: impl Into<String>) -> Result<T, Refused> {
    Err(Refused {
        code,
        text: text.into(),
    })
}

/// Reads a message that came on the link for device-bound messages.
pub(super) fn read(incoming: &IncomingMessage, hub: &HubName) -> Result<Command, Refused> {
    if incoming.message_format != FORMAT_PLAIN {
        return refused(
            ErrorCode::GenericBadRequest,
            "message format is not supported",
        );
    }
    let message = Message::decode(&incoming.payload).or_else(|error| {
        refused(
            ErrorCode::GenericBadRequest,
            format!("message cannot be decoded: {error}"),
        )
    })?;
    let Some(target) = message.properties.to.as_deref().and_then(parse_target) else {
        return refused(ErrorCode::InvalidOperation, "property to names no device");
    };
    if let Some(module) = target.module {
        return refused(
            ErrorCode::ModuleNotFound,
            format!("module {module} is not registered"),
        );
    }
    let (ack, application) = read_application(message.application_properties)?;
    let properties = message.properties;
    let expiry = properties.absolute_expiry_time;
    Ok(Command {
        message: NewMessage {
            hub: hub.clone(),
            device: target.device,
            ack,
            expiry: expiry.map(|AmqpTimestamp(millis)| Timestamp::from_millis(millis)),
            body: read_body(message.body)?,
            properties: Properties {
                message_id: properties.message_id.and_then(|id| id.to_text()),
                correlation_id: properties.correlation_id.and_then(|id| id.to_text()),
                to: properties.to,
                user_id: read_user_id(properties.user_id.as_ref())?,
                content_type: properties.content_type.map(Symbol::into_string),
                content_encoding: properties.content_encoding.map(Symbol::into_string),
                // The queue tells, once it has accepted the message.
                expiry: None,
                application,
            },
        },
        other_device: target.decoded,
    })
}

fn read_user_id(user_id: Option<&Bytes>) -> Result<Option<String>, Refused> {
    let Some(user_id) = user_id else {
        return Ok(None);
    };
    match std::str::from_utf8(user_id) {
        Ok(text) => Ok(Some(text.to_owned())),
        Err(_) => refused(ErrorCode::ArgumentInvalid, "user id is not UTF-8 text"),
    }
}

/// Takes the ack mode out of the application properties and turns the rest into text: devices
/// take strings only, and no null (amqp.md §5.3).
fn read_application(
    properties: Vec<(String, Value)>,
) -> Result<(AckMode, Vec<(String, String)>), Refused> {
    let mut ack = AckMode::None;
    let mut application = Vec::with_capacity(properties.len());
    for (name, value) in properties {
        if value == Value::Null {
            continue;
        }
        let Some(text) = value.to_scalar_text() else {
            let text = format!("application property {name} is no single value");
            return refused(ErrorCode::ArgumentInvalid, text);
        };
        if name.eq_ignore_ascii_case(ACK) {
            let Ok(mode) = text.parse() else {
                return refused(ErrorCode::ArgumentInvalid, format!("{text} is no ack mode"));
            };
            ack = mode;
        } else {
            application.push((name, text));
        }
    }
    Ok((ack, application))
}

/// Reads the payload. SDKs send one Data section; several are one payload in pieces, and text or
/// bytes as a value are taken as what they are.
fn read_body(body: Body) -> Result<Bytes, Refused> {
    match body {
        Body::Empty => Ok(Bytes::new()),
        Body::Data(data) => Ok(data),
        Body::Batch(parts) => {
            let length = parts.iter().map(Bytes::len).sum();
            let mut whole = BytesMut::with_capacity(length);
            for part in &parts {
                whole.extend_from_slice(part);
            }
            Ok(whole.freeze())
        }
        Body::Value(encoded) => match Value::decode(&mut Reader::over(&encoded)) {
            Ok(Value::Binary(bytes)) => Ok(bytes),
            Ok(Value::String(text)) => Ok(text.into()),
            Ok(Value::Null) => Ok(Bytes::new()),
            _ => refused(ErrorCode::ArgumentInvalid, "body is neither bytes nor text"),
        },
        Body::Sequence(_) => refused(ErrorCode::ArgumentInvalid, "body is neither bytes nor text"),
    }
}
