//! The performatives of the transport (AMQP 1.0 part 2.7) and the types in their fields.

mod attach;
mod closing;
mod disposition;
mod error;
mod flow;
mod modes;
mod open;
mod outcome;
mod terminus;
mod transfer;

pub use attach::Attach;
pub use closing::{Close, Detach, End};
pub use disposition::Disposition;
pub use error::{AmqpError, condition};
pub use flow::Flow;
pub use modes::{ReceiverSettleMode, Role, SenderSettleMode};
pub use open::{Begin, Open};
pub use outcome::DeliveryState;
pub use terminus::{Terminus, TerminusKind};
pub use transfer::{DeliveryTag, Transfer};

use crate::types::{DecodeError, Fields, Reader, decode_descriptor};

/// The body of an AMQP frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Performative {
    /// Negotiates the connection.
    Open(Open),
    /// Begins a session on a channel.
    Begin(Begin),
    /// Attaches a link to a session.
    Attach(Box<Attach>),
    /// Updates the state of a session or a link.
    Flow(Flow),
    /// Carries a message or a part of one; its payload follows in the frame.
    Transfer(Transfer),
    /// Tells the state of deliveries.
    Disposition(Disposition),
    /// Detaches a link.
    Detach(Detach),
    /// Ends a session.
    End(End),
    /// Closes the connection.
    Close(Close),
}

impl Performative {
    /// Reads a performative and leaves `reader` at the payload that follows it.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are no performative.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = reader.byte()?;
        if code != 0 {
            return Err(DecodeError::UnexpectedCode {
                code,
                expected: "performative",
            });
        }
        let descriptor = decode_descriptor(reader)?;
        let mut fields = Fields::open(reader)?;
        let fields = &mut fields;
        Ok(match descriptor {
            0x10 => Self::Open(Open::from_fields(fields)?),
            0x11 => Self::Begin(Begin::from_fields(fields)?),
            0x12 => Self::Attach(Box::new(Attach::from_fields(fields)?)),
            0x13 => Self::Flow(Flow::from_fields(fields)?),
            0x14 => Self::Transfer(Transfer::from_fields(fields)?),
            0x15 => Self::Disposition(Disposition::from_fields(fields)?),
            0x16 => Self::Detach(Detach::from_fields(fields)?),
            0x17 => Self::End(End {
                error: fields.optional()?,
            }),
            0x18 => Self::Close(Close {
                error: fields.optional()?,
            }),
            other => return Err(DecodeError::UnexpectedDescriptor(other)),
        })
    }

    /// Appends the encoding to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Open(open) => open.encode(out),
            Self::Begin(begin) => begin.encode(out),
            Self::Attach(attach) => attach.encode(out),
            Self::Flow(flow) => flow.encode(out),
            Self::Transfer(transfer) => transfer.encode(out),
            Self::Disposition(disposition) => disposition.encode(out),
            Self::Detach(detach) => detach.encode(out),
            Self::End(end) => end.encode(out),
            Self::Close(close) => close.encode(out),
        }
    }
}

/// Implements [`From`] into [`Performative`] for each of its bodies.
macro_rules! into_performative {
    ($($body:ident),*) => {
        $(impl From<$body> for Performative {
            fn from(body: $body) -> Self {
                Self::$body(body)
            }
        })*
    };
}
into_performative!(Open, Begin, Flow, Transfer, Disposition, Detach, End, Close);

impl From<Attach> for Performative {
    fn from(attach: Attach) -> Self {
        Self::Attach(Box::new(attach))
    }
}

#[cfg(test)]
mod tests;
