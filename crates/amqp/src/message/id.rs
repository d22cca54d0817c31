use std::fmt;

use bytes::Bytes;

use crate::types::{Decode, DecodeError, Encode, Reader, Value};

/// A message-id or correlation-id, its AMQP type kept: a reply must repeat it (amqp.md §3.3).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum MessageId {
    /// `ulong`, from uamqp.
    Ulong(u64),
    /// `uuid` in network order, from Java and, for texts that look like one, Node.
    Uuid([u8; 16]),
    /// `binary`.
    Binary(Bytes),
    /// `string`, from all others.
    String(String),
}

impl MessageId {
    /// Returns the text of the id: a uuid in lower-case `8-4-4-4-12` form, `None` for binary that
    /// is no UTF-8.
    pub fn to_text(&self) -> Option<String> {
        Value::from(self.clone()).to_scalar_text()
    }
}

impl From<MessageId> for Value {
    fn from(id: MessageId) -> Self {
        match id {
            MessageId::Ulong(number) => Self::Ulong(number),
            MessageId::Uuid(bytes) => Self::Uuid(bytes),
            MessageId::Binary(bytes) => Self::Binary(bytes),
            MessageId::String(text) => Self::String(text),
        }
    }
}

impl From<&str> for MessageId {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_text().unwrap_or_default())
    }
}

impl Decode for MessageId {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match Value::decode_as(code, reader)? {
            Value::Ulong(number) => Ok(Self::Ulong(number)),
            Value::Uuid(bytes) => Ok(Self::Uuid(bytes)),
            Value::Binary(bytes) => Ok(Self::Binary(bytes)),
            Value::String(text) => Ok(Self::String(text)),
            _ => Err(DecodeError::UnexpectedCode {
                code,
                expected: "message-id",
            }),
        }
    }
}

impl Encode for MessageId {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ulong(number) => number.encode(out),
            Self::Uuid(bytes) => Value::Uuid(*bytes).encode(out),
            Self::Binary(bytes) => bytes.encode(out),
            Self::String(text) => text.encode(out),
        }
    }
}
