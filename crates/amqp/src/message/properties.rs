use bytes::Bytes;

use super::MessageId;
use crate::types::{DecodeError, Fields, ListWriter, Symbol, Timestamp};

/// The header section (AMQP 1.0 3.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether the message must survive a crash of the node that holds it.
    pub durable: bool,
    /// Relative importance, 4 by default.
    pub priority: u8,
    /// Milliseconds the message is good for.
    pub ttl: Option<u32>,
    /// Whether nobody may have had the message before.
    pub first_acquirer: bool,
    /// Unsuccessful deliveries so far.
    pub delivery_count: u32,
}

impl Default for Header {
    fn default() -> Self {
        Self {
            durable: false,
            priority: 4,
            ttl: None,
            first_acquirer: false,
            delivery_count: 0,
        }
    }
}

impl Header {
    pub(super) fn from_fields(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            durable: fields.or_default()?,
            priority: fields.optional()?.unwrap_or(4),
            ttl: fields.optional()?,
            first_acquirer: fields.or_default()?,
            delivery_count: fields.or_default()?,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        ListWriter::new(out, 0x70)
            .put(&self.durable)
            .put(&self.priority)
            .put_option(self.ttl)
            .put(&self.first_acquirer)
            .put(&self.delivery_count)
            .finish();
    }
}

/// The properties section (AMQP 1.0 3.2.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties {
    /// The message's own id.
    pub message_id: Option<MessageId>,
    /// Who made the message.
    pub user_id: Option<Bytes>,
    /// Where it is to go.
    pub to: Option<String>,
    /// What it is about.
    pub subject: Option<String>,
    /// Where answers go.
    pub reply_to: Option<String>,
    /// The message this one answers or belongs to.
    pub correlation_id: Option<MessageId>,
    /// Media type of the body.
    pub content_type: Option<Symbol>,
    /// Encoding applied to the body.
    pub content_encoding: Option<Symbol>,
    /// When the message expires.
    pub absolute_expiry_time: Option<Timestamp>,
    /// When the message was made.
    pub creation_time: Option<Timestamp>,
    /// Group the message belongs to.
    pub group_id: Option<String>,
    /// Place in the group.
    pub group_sequence: Option<u32>,
    /// Group of the answers.
    pub reply_to_group_id: Option<String>,
}

impl Properties {
    pub(super) fn from_fields(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            message_id: fields.optional()?,
            user_id: fields.optional()?,
            to: fields.optional()?,
            subject: fields.optional()?,
            reply_to: fields.optional()?,
            correlation_id: fields.optional()?,
            content_type: fields.optional()?,
            content_encoding: fields.optional()?,
            absolute_expiry_time: fields.optional()?,
            creation_time: fields.optional()?,
            group_id: fields.optional()?,
            group_sequence: fields.optional()?,
            reply_to_group_id: fields.optional()?,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        ListWriter::new(out, 0x73)
            .put_option(self.message_id.as_ref())
            .put_option(self.user_id.as_ref())
            .put_option(self.to.as_ref())
            .put_option(self.subject.as_ref())
            .put_option(self.reply_to.as_ref())
            .put_option(self.correlation_id.as_ref())
            .put_option(self.content_type.as_ref())
            .put_option(self.content_encoding.as_ref())
            .put_option(self.absolute_expiry_time)
            .put_option(self.creation_time)
            .put_option(self.group_id.as_ref())
            .put_option(self.group_sequence)
            .put_option(self.reply_to_group_id.as_ref())
            .finish();
    }
}
