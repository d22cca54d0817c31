use super::{ReceiverSettleMode, Role, SenderSettleMode, Terminus};
use crate::types::{DecodeError, Fields, ListWriter, Symbol, Value};

/// Attaches a link (AMQP 1.0 2.7.3). Unsettled maps and capabilities are unread: links are never
/// resumed.
#[derive(Clone, Debug, PartialEq)]
pub struct Attach {
    /// Name of the link, unique per session and role only (amqp.md §2.4).
    pub name: String,
    /// The sender's number for the link.
    pub handle: u32,
    /// Which end the sender is.
    pub role: Role,
    /// How the sending end settles; `None` when not given.
    pub snd_settle_mode: Option<SenderSettleMode>,
    /// How the receiving end settles; `None` when not given.
    pub rcv_settle_mode: Option<ReceiverSettleMode>,
    /// Where messages come from.
    pub source: Option<Terminus>,
    /// Where messages go to.
    pub target: Option<Terminus>,
    /// Delivery count at the start, mandatory from a sender.
    pub initial_delivery_count: Option<u32>,
    /// Largest message the sender takes, in bytes; `None` or 0 for no limit.
    pub max_message_size: Option<u64>,
    /// Properties of the link, `com.microsoft:…` among them.
    pub properties: Vec<(Symbol, Value)>,
}

impl Attach {
    pub(super) fn from_fields(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        let name = fields.required("name")?;
        let handle = fields.required("handle")?;
        let role = fields.required("role")?;
        let snd_settle_mode = fields.optional()?;
        let rcv_settle_mode = fields.optional()?;
        let source = fields.encoded()?.map(Terminus::from_encoded).transpose()?;
        let target = fields.encoded()?.map(Terminus::from_encoded).transpose()?;
        fields.skip()?; // unsettled
        fields.skip()?; // incomplete-unsettled
        let initial_delivery_count = fields.optional()?;
        let max_message_size = fields.optional()?;
        fields.skip()?; // offered-capabilities
        fields.skip()?; // desired-capabilities
        let properties = fields.or_default()?;
        Ok(Self {
            name,
            handle,
            role,
            snd_settle_mode,
            rcv_settle_mode,
            source,
            target,
            initial_delivery_count,
            max_message_size,
            properties,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let mut list = ListWriter::new(out, 0x12);
        list.put(&self.name)
            .put(&self.handle)
            .put(&self.role)
            .put_option(self.snd_settle_mode)
            .put_option(self.rcv_settle_mode)
            .put_encoded(self.source.as_ref().map(Terminus::encoded))
            .put_encoded(self.target.as_ref().map(Terminus::encoded))
            .nulls(2)
            .put_option(self.initial_delivery_count)
            .put_option(self.max_message_size);
        if !self.properties.is_empty() {
            list.nulls(2).put(self.properties.as_slice());
        }
        list.finish();
    }
}
