use crate::types::{DecodeError, Fields, ListWriter};

/// Updates session windows and, with a handle, link credit (AMQP 1.0 2.7.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Transfer-id the sender expects next; `None` only before it has seen the peer's begin.
    pub next_incoming_id: Option<u32>,
    /// Transfer frames the sender can take.
    pub incoming_window: u32,
    /// Transfer-id of the sender's next transfer.
    pub next_outgoing_id: u32,
    /// Transfer frames the sender wants to send.
    pub outgoing_window: u32,
    /// Link the rest is about.
    pub handle: Option<u32>,
    /// Delivery count of the link, as the sender of this flow knows it.
    pub delivery_count: Option<u32>,
    /// Deliveries the link's receiver can take.
    pub link_credit: Option<u32>,
    /// Deliveries the link's sender has waiting.
    pub available: Option<u32>,
    /// Whether the link's sender is to use up its credit at once.
    pub drain: bool,
    /// Whether the peer is to answer with its own state.
    pub echo: bool,
}

impl Flow {
    pub(super) fn from_fields(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            next_incoming_id: fields.optional()?,
            incoming_window: fields.required("incoming-window")?,
            next_outgoing_id: fields.required("next-outgoing-id")?,
            outgoing_window: fields.required("outgoing-window")?,
            handle: fields.optional()?,
            delivery_count: fields.optional()?,
            link_credit: fields.optional()?,
            available: fields.optional()?,
            drain: fields.or_default()?,
            echo: fields.or_default()?,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut list = ListWriter::new(out, 0x13);
        list.put_option(self.next_incoming_id)
            .put(&self.incoming_window)
            .put(&self.next_outgoing_id)
            .put(&self.outgoing_window)
            .put_option(self.handle)
            .put_option(self.delivery_count)
            .put_option(self.link_credit)
            .put_option(self.available);
        if self.drain || self.echo {
            list.put(&self.drain).put(&self.echo);
        }
        list.finish();
    }
}
