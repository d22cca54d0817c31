use super::AmqpError;
use crate::types::{DecodeError, Fields, ListWriter};

/// Detaches a link (AMQP 1.0 2.7.7).
#[derive(Clone, Debug, PartialEq)]
pub struct Detach {
    /// Link to detach.
    pub handle: u32,
    /// Whether the link is gone for good rather than suspended.
    pub closed: bool,
    /// Why, when it is not the orderly end.
    pub error: Option<AmqpError>,
}

impl Detach {
    pub(super) fn from_fields(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            handle: fields.required("handle")?,
            closed: fields.or_default()?,
            error: fields.optional()?,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        ListWriter::new(out, 0x16)
            .put(&self.handle)
            .put(&self.closed)
            .put_option(self.error.as_ref())
            .finish();
    }
}

/// Ends a session (AMQP 1.0 2.7.8).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct End {
    /// Why, when it is not the orderly end.
    pub error: Option<AmqpError>,
}

impl End {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        ListWriter::new(out, 0x17)
            .put_option(self.error.as_ref())
            .finish();
    }
}

/// Closes a connection (AMQP 1.0 2.7.9).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Close {
    /// Why, when it is not the orderly end.
    pub error: Option<AmqpError>,
}

impl Close {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        ListWriter::new(out, 0x18)
            .put_option(self.error.as_ref())
            .finish();
    }
}
