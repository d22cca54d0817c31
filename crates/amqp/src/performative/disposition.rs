use super::{DeliveryState, Role};
use crate::types::{DecodeError, Fields, ListWriter};

/// Tells the state of a range of deliveries (AMQP 1.0 2.7.6).
#[derive(Clone, Debug, PartialEq)]
pub struct Disposition {
    /// Which end of the deliveries the sender of this frame is.
    pub role: Role,
    /// First delivery-id of the range.
    pub first: u32,
    /// Last delivery-id; `None` when the range is one delivery.
    pub last: Option<u32>,
    /// Whether the sender of this frame has settled the deliveries.
    pub settled: bool,
    /// State of the deliveries; always present in what the hub sends (amqp.md §4.6).
    pub state: Option<DeliveryState>,
}

impl Disposition {
    pub(super) fn from_fields(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            role: fields.required("role")?,
            first: fields.required("first")?,
            last: fields.optional()?,
            settled: fields.or_default()?,
            state: fields.optional()?,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        ListWriter::new(out, 0x15)
            .put(&self.role)
            .put(&self.first)
            .put_option(self.last)
            .put(&self.settled)
            .put_option(self.state.as_ref())
            .finish();
    }
}
