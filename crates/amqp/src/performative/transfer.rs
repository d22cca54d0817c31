use std::fmt;

use super::DeliveryState;
use crate::types::{Decode, DecodeError, Encode, Fields, ListWriter, Reader};

/// The sender's name for a delivery: up to 32 bytes, kept without an allocation.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeliveryTag {
    length: u8,
    bytes: [u8; 32],
}

impl DeliveryTag {
    /// Returns a tag of `bytes`, `None` when there are more than 32.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let length = u8::try_from(bytes.len()).ok()?;
        let mut tag = Self {
            length,
            bytes: [0; 32],
        };
        tag.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(tag)
    }

    /// Returns the bytes of the tag.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }
}

impl fmt::Debug for DeliveryTag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.as_slice() {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl Decode for DeliveryTag {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = bytes::Bytes::decode_as(code, reader)?;
        Self::new(&bytes).ok_or(DecodeError::OutOfRange("delivery-tag"))
    }
}

impl Encode for DeliveryTag {
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_slice().encode(out);
    }
}

/// Carries a message or a part of one (AMQP 1.0 2.7.5).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transfer {
    /// Link the message travels on.
    pub handle: u32,
    /// Number of the delivery in its session; mandatory in the first frame of a delivery.
    pub delivery_id: Option<u32>,
    /// Sender's name for the delivery; mandatory in the first frame of a delivery.
    pub delivery_tag: Option<DeliveryTag>,
    /// Format of the payload, 0 for an AMQP message.
    pub message_format: Option<u32>,
    /// Whether the sender regards the delivery as settled.
    pub settled: Option<bool>,
    /// Whether more frames of this delivery follow.
    pub more: bool,
    /// State of the delivery at the sender.
    pub state: Option<DeliveryState>,
    /// Whether the delivery is given up and to be forgotten.
    pub aborted: bool,
    /// Whether the receiver may take its time to answer.
    pub batchable: bool,
}

impl Transfer {
    pub(super) fn from_fields(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let handle = fields.required("handle")?;
        let delivery_id = fields.optional()?;
        let delivery_tag = fields.optional()?;
        let message_format = fields.optional()?;
        let settled = fields.optional()?;
        let more = fields.or_default()?;
        fields.skip()?; // rcv-settle-mode: every delivery is settled first
        let state = fields.optional()?;
        fields.skip()?; // resume: links are never resumed
        let aborted = fields.or_default()?;
        let batchable = fields.or_default()?;
        Ok(Self {
            handle,
            delivery_id,
            delivery_tag,
            message_format,
            settled,
            more,
            state,
            aborted,
            batchable,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut list = ListWriter::new(out, 0x14);
        list.put(&self.handle)
            .put_option(self.delivery_id)
            .put_option(self.delivery_tag)
            .put_option(self.message_format)
            .put_option(self.settled)
            .put(&self.more);
        if self.state.is_some() || self.aborted || self.batchable {
            list.null().put_option(self.state.as_ref()).null();
            list.put(&self.aborted).put(&self.batchable);
        }
        list.finish();
    }
}
