//! Telemetry as AMQP messages bring it, one by one or in batches (amqp.md §4.6).

use bytes::Bytes;
use downlink_amqp::message::{Body, FORMAT_BATCH, FORMAT_PLAIN, Message, MessageId, Properties};
use downlink_amqp::types::{Symbol, Timestamp as AmqpTimestamp, Value};
use downlink_domain::{ErrorCode, Timestamp};

use crate::amqp::payload::{self, Refused, read_body, read_user_id};
use crate::device::{Telemetry, system_property as name};

/// Messages that one batch may bring; 256 KiB hold no more of the smallest that C gathers. Each is
/// stored with what the hub says of its sender, so that batches of empty ones must have a bound.
const MAX_BATCH: usize = 8192;
/// Annotations that carry system properties, and their stored names.
const ANNOTATIONS: [(&str, &str); 4] = [
    ("iothub-interface-id", name::INTERFACE_ID),
    ("dt-subject", name::SUBJECT),
    ("Diagnostic-Id", name::DIAGNOSTIC_ID),
    ("Correlation-Context", name::DIAGNOSTIC_CONTEXT),
];

/// Reads what came on a telemetry link: one message, or all of a batch in their order. Each may
/// have `max_bytes` of payload, names and values together.
///
/// # Errors
/// [`Refused`] when any of it cannot be taken; then none of it is.
pub(super) fn read(
    message_format: u32,
    encoded: &Bytes,
    max_bytes: usize,
) -> Result<Vec<Telemetry>, Refused> {
    match message_format {
        FORMAT_PLAIN => Ok(vec![read_message(encoded, max_bytes)?]),
        FORMAT_BATCH => read_batch(encoded, max_bytes),
        _ => Err(Refused::new(
            ErrorCode::GenericBadRequest,
            "message format is not supported",
        )),
    }
}

fn read_batch(encoded: &Bytes, max_bytes: usize) -> Result<Vec<Telemetry>, Refused> {
    let parts = match payload::decode(encoded)?.body {
        Body::Data(part) => vec![part],
        Body::Batch(parts) => parts,
        Body::Empty | Body::Value(_) | Body::Sequence(_) => {
            let text = "a batch must hold its messages in data sections";
            return Err(Refused::new(ErrorCode::ArgumentInvalid, text));
        }
    };
    if parts.len() > MAX_BATCH {
        let text = format!("a batch may hold {MAX_BATCH} messages");
        return Err(Refused::new(ErrorCode::MessageTooLarge, text));
    }
    let messages = parts.iter().map(|part| read_message(part, max_bytes));
    messages.collect()
}

fn read_message(encoded: &Bytes, max_bytes: usize) -> Result<Telemetry, Refused> {
    let message = payload::decode(encoded)?;
    let mut properties = Vec::new();
    read_properties(&message.properties, &mut properties)?;
    read_annotations(&message, &mut properties);
    let system_count = properties.len();
    read_application(message.application_properties, &mut properties)?;
    let body = read_body(message.body)?;
    let telemetry = Telemetry { properties, body };
    if counted_bytes(&telemetry, system_count) > max_bytes {
        let text = format!("a message may have {max_bytes} bytes");
        return Err(Refused::new(ErrorCode::MessageTooLarge, text));
    }
    Ok(telemetry)
}

/// Bytes that count towards the size limit: the payload, values of system properties, names and
/// values of application properties (c2d.md §2).
fn counted_bytes(telemetry: &Telemetry, system_count: usize) -> usize {
    let properties = &telemetry.properties;
    let names = properties.iter().skip(system_count).map(|(name, _)| name);
    let values = properties.iter().map(|(_, value)| value);
    let properties: usize = names.chain(values).map(String::len).sum();
    telemetry.body.len() + properties
}

fn read_properties(told: &Properties, into: &mut Vec<(String, String)>) -> Result<(), Refused> {
    let id = |id: &Option<MessageId>| id.as_ref().and_then(MessageId::to_text);
    let symbol = |symbol: &Option<Symbol>| symbol.as_ref().map(|symbol| symbol.as_str().to_owned());
    let at = |AmqpTimestamp(millis)| Timestamp::from_millis(millis).to_string();
    let found = [
        (name::MESSAGE_ID, id(&told.message_id)),
        (name::CORRELATION_ID, id(&told.correlation_id)),
        (
            name::USER_ID,
            told.user_id.as_ref().map(read_user_id).transpose()?,
        ),
        (name::TO, told.to.clone()),
        (
            name::ABSOLUTE_EXPIRY_TIME,
            told.absolute_expiry_time.map(at),
        ),
        (name::CONTENT_TYPE, symbol(&told.content_type)),
        (name::CONTENT_ENCODING, symbol(&told.content_encoding)),
    ];
    let found = found.into_iter();
    into.extend(found.filter_map(|(name, value)| Some((name.to_owned(), value?))));
    Ok(())
}

/// Takes the annotations that a device may set. What the hub itself says about a message is not
/// among them, whatever stands there.
fn read_annotations(message: &Message, into: &mut Vec<(String, String)>) {
    into.extend(ANNOTATIONS.iter().filter_map(|(annotation, name)| {
        let value = message.annotation(annotation)?.to_scalar_text()?;
        Some(((*name).to_owned(), value))
    }));
}

/// Turns application properties into text. A null is stored as an empty value, as a bare key of
/// MQTT is.
fn read_application(
    properties: Vec<(String, Value)>,
    into: &mut Vec<(String, String)>,
) -> Result<(), Refused> {
    for (name, value) in properties {
        let text = match value {
            Value::String(text) => Some(text),
            Value::Null => Some(String::new()),
            other => other.to_scalar_text(),
        };
        let Some(text) = text else {
            let text = format!("application property {name} is no single value");
            return Err(Refused::new(ErrorCode::ArgumentInvalid, text));
        };
        into.push((name, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
