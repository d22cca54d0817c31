use crate::types::{Decode, DecodeError, Encode, Reader};

/// The end of a link that a peer is, on the wire `false` for a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends transfers on the link.
    Sender,
    /// Receives transfers on the link.
    Receiver,
}

impl Role {
    /// Returns the role of the other end.
    #[must_use]
    pub fn opposite(self) -> Self {
        match self {
            Self::Sender => Self::Receiver,
            Self::Receiver => Self::Sender,
        }
    }
}

impl Decode for Role {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let is_receiver = bool::decode_as(code, reader)?;
        Ok(if is_receiver {
            Self::Receiver
        } else {
            Self::Sender
        })
    }
}

impl Encode for Role {
    fn encode(&self, out: &mut Vec<u8>) {
        (*self == Self::Receiver).encode(out);
    }
}

/// How the sending end of a link settles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SenderSettleMode {
    /// All deliveries start unsettled.
    Unsettled,
    /// All deliveries are sent settled.
    Settled,
    /// Either, as the sender likes.
    #[default]
    Mixed,
}

impl Decode for SenderSettleMode {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode_as(code, reader)? {
            0 => Ok(Self::Unsettled),
            1 => Ok(Self::Settled),
            2 => Ok(Self::Mixed),
            _ => Err(DecodeError::OutOfRange("sender-settle-mode")),
        }
    }
}

impl Encode for SenderSettleMode {
    fn encode(&self, out: &mut Vec<u8>) {
        let mode: u8 = match self {
            Self::Unsettled => 0,
            Self::Settled => 1,
            Self::Mixed => 2,
        };
        mode.encode(out);
    }
}

/// How the receiving end of a link settles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReceiverSettleMode {
    /// The receiver settles at once when it knows the outcome.
    #[default]
    First,
    /// The receiver tells the outcome and settles after the sender has.
    Second,
}

impl Decode for ReceiverSettleMode {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match u8::decode_as(code, reader)? {
            0 => Ok(Self::First),
            1 => Ok(Self::Second),
            _ => Err(DecodeError::OutOfRange("receiver-settle-mode")),
        }
    }
}

impl Encode for ReceiverSettleMode {
    fn encode(&self, out: &mut Vec<u8>) {
        let mode: u8 = match self {
            Self::First => 0,
            Self::Second => 1,
        };
        mode.encode(out);
    }
}
