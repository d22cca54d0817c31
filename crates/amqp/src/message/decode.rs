use bytes::Bytes;

use super::{Body, Header, Message, Properties};
use crate::types::{Decode, DecodeError, Fields, Reader, Value, decode_descriptor};

impl Message {
    /// Reads a message; Data sections become slices of `bytes`, which they keep alive.
    ///
    /// # Errors
    /// [`DecodeError`] when a section is unknown or malformed, or bodies of two kinds are mixed.
    pub fn decode(bytes: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::over(bytes);
        let mut message = Self::default();
        while !reader.is_empty() {
            let code = reader.byte()?;
            if code != 0 {
                return Err(DecodeError::UnexpectedCode {
                    code,
                    expected: "message section",
                });
            }
            let descriptor = decode_descriptor(&mut reader)?;
            message.read_section(descriptor, &mut reader)?;
        }
        Ok(message)
    }

    fn read_section(
        &mut self,
        descriptor: u64,
        reader: &mut Reader<'_>,
    ) -> Result<(), DecodeError> {
        match descriptor {
            0x70 => self.header = Some(Header::from_fields(&mut Fields::open(reader)?)?),
            // Delivery annotations and the footer say nothing that matters here.
            0x71 | 0x78 => drop(reader.skip()?),
            0x72 => self.annotations = Vec::decode(reader)?,
            0x73 => self.properties = Properties::from_fields(&mut Fields::open(reader)?)?,
            0x74 => self.application_properties = Vec::decode(reader)?,
            0x75 => {
                let data = Bytes::decode(reader)?;
                let body = std::mem::take(&mut self.body);
                self.body = body.with_data(data)?;
            }
            0x76 => {
                let encoded = reader.skip()?;
                let body = std::mem::take(&mut self.body);
                self.body = body.with_sequence(reader.own(encoded))?;
            }
            0x77 if self.body == Body::Empty => {
                let encoded = reader.skip()?;
                self.body = Body::Value(reader.own(encoded));
            }
            other => return Err(DecodeError::UnexpectedDescriptor(other)),
        }
        Ok(())
    }
}

impl Body {
    fn with_data(self, data: Bytes) -> Result<Self, DecodeError> {
        match self {
            Self::Empty => Ok(Self::Data(data)),
            Self::Data(first) => Ok(Self::Batch(vec![first, data])),
            Self::Batch(mut parts) => {
                parts.push(data);
                Ok(Self::Batch(parts))
            }
            Self::Value(_) | Self::Sequence(_) => Err(DecodeError::UnexpectedDescriptor(0x75)),
        }
    }

    fn with_sequence(self, sequence: Bytes) -> Result<Self, DecodeError> {
        match self {
            Self::Empty => Ok(Self::Sequence(vec![sequence])),
            Self::Sequence(mut parts) => {
                parts.push(sequence);
                Ok(Self::Sequence(parts))
            }
            Self::Data(_) | Self::Batch(_) | Self::Value(_) => {
                Err(DecodeError::UnexpectedDescriptor(0x76))
            }
        }
    }
}

/// Reads the map of application properties; keys are strings (AMQP 1.0 3.2.5).
impl Decode for Vec<(String, Value)> {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let Value::Map(entries) = Value::decode_as(code, reader)? else {
            return Err(DecodeError::UnexpectedCode {
                code,
                expected: "map",
            });
        };
        let mut properties = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            match key {
                Value::String(name) => properties.push((name, value)),
                Value::Symbol(name) => properties.push((name.into_string(), value)),
                _ => return Err(DecodeError::BadCompound),
            }
        }
        Ok(properties)
    }
}
