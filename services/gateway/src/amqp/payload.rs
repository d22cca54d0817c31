//! What is read out of any message that a client sends: its payload, or why it is not taken.

use bytes::{Bytes, BytesMut};
use downlink_amqp::message::{Body, Message};
use downlink_amqp::types::{Decode, Reader, Value};
use downlink_domain::ErrorCode;

/// Why a message cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// Code of the catalogue.
    pub(super) code: ErrorCode,
    /// Text for the sender.
    pub(super) text: String,
}

impl Refused {
    /// Refuses with `code` of the catalogue and `text` for the sender.
    pub(super) fn new(code: ErrorCode, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }
}

/// Reads the sections of a message.
///
/// # Errors
/// [`Refused`] when they are no AMQP message.
pub(super) fn decode(encoded: &Bytes) -> Result<Message, Refused> {
    Message::decode(encoded).map_err(|error| {
        let text = format!("message cannot be decoded: {error}");
        Refused::new(ErrorCode::GenericBadRequest, text)
    })
}

/// Reads a user id, which the hub keeps as text.
///
/// # Errors
/// [`Refused`] when it is none.
pub(super) fn read_user_id(user_id: &Bytes) -> Result<String, Refused> {
    match std::str::from_utf8(user_id) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(Refused::new(
            ErrorCode::ArgumentInvalid,
            "user id is not UTF-8 text",
        )),
    }
}

/// Reads the payload. SDKs send one Data section; several are one payload in pieces, and text or
/// bytes as a value are taken as what they are.
///
/// # Errors
/// [`Refused`] when the body is neither bytes nor text.
pub(super) fn read_body(body: Body) -> Result<Bytes, Refused> {
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
            _ => Err(no_payload()),
        },
        Body::Sequence(_) => Err(no_payload()),
    }
}

fn no_payload() -> Refused {
    Refused::new(ErrorCode::ArgumentInvalid, "body is neither bytes nor text")
}
