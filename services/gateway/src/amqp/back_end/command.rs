//! A message from a back-end as the hub keeps it (c2d.md §3.1, amqp.md §8.2).

use downlink_amqp::engine::IncomingMessage;
use downlink_amqp::message::FORMAT_PLAIN;
use downlink_amqp::types::{Symbol, Timestamp as AmqpTimestamp, Value};
use downlink_domain::id::{DeviceId, HubName};
use downlink_domain::message::{AckMode, NewMessage, Properties};
use downlink_domain::{ErrorCode, Timestamp};

use crate::amqp::address::parse_target;
use crate::amqp::payload::{self, Refused, read_body, read_user_id};

/// Application property that carries the ack mode.
const ACK: &str = "iothub-ack";

/// What a message costs besides its parts.
const MESSAGE_COST_BYTES: usize = 512;
/// What one application property costs besides its text.
const PROPERTY_COST_BYTES: usize = 96;

/// A message for the queue.
#[derive(Debug)]
pub(super) struct Command {
    /// The message, addressed by the id as it stands in `to`.
    pub(super) message: NewMessage,
    /// The other reading of the id (amqp.md §8.2).
    pub(super) other_device: Option<DeviceId>,
    /// About the memory that it takes until it is stored, in bytes.
    pub(super) cost: usize,
}

fn refused<T>(code: ErrorCode, text: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::new(code, text))
}

/// Reads a message that came on the link for device-bound messages.
pub(super) fn read(incoming: &IncomingMessage, hub: &HubName) -> Result<Command, Refused> {
    if incoming.message_format != FORMAT_PLAIN {
        return refused(
            ErrorCode::GenericBadRequest,
            "message format is not supported",
        );
    }
    let message = payload::decode(&incoming.payload)?;
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
    let message = NewMessage {
        hub: hub.clone(),
        device: target.device,
        ack,
        expiry: expiry.map(|AmqpTimestamp(millis)| Timestamp::from_millis(millis)),
        body: read_body(message.body)?,
        properties: Properties {
            message_id: properties.message_id.and_then(|id| id.to_text()),
            correlation_id: properties.correlation_id.and_then(|id| id.to_text()),
            to: properties.to,
            user_id: properties.user_id.as_ref().map(read_user_id).transpose()?,
            content_type: properties.content_type.map(Symbol::into_string),
            content_encoding: properties.content_encoding.map(Symbol::into_string),
            // The queue tells, once it has accepted the message.
            expiry: None,
            application,
        },
    };
    Ok(Command {
        cost: cost(&message, incoming.payload.len()),
        message,
        other_device: target.decoded,
    })
}

/// The body is a part of the payload, which lives as long as it does; the rest is copied.
fn cost(message: &NewMessage, payload_bytes: usize) -> usize {
    let copied = message.counted_bytes().saturating_sub(message.body.len());
    let properties = message.properties.application.len() * PROPERTY_COST_BYTES;
    MESSAGE_COST_BYTES + payload_bytes + copied + properties
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
