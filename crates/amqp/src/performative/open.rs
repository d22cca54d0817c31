use crate::types::{DecodeError, Fields, ListWriter};

/// Negotiates the limits of a connection (AMQP 1.0 2.7.1). Capabilities and properties are unread:
/// no client needs them (amqp.md §2.1).
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// Name of the sender's container; neither unique nor telling (amqp.md §2.1).
    pub container_id: String,
    /// Host the client wants to reach, like SNI.
    pub hostname: Option<String>,
    /// Largest frame the sender takes, in bytes.
    pub max_frame_size: u32,
    /// Highest channel number the sender takes.
    pub channel_max: u16,
    /// Milliseconds of silence after which the sender may close.
    pub idle_time_out: Option<u32>,
}

impl Open {
    pub(super) fn from_fields(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            container_id: fields.required("container-id")?,
            hostname: fields.optional()?,
            max_frame_size: fields.optional()?.unwrap_or(u32::MAX),
            channel_max: fields.optional()?.unwrap_or(u16::MAX),
            idle_time_out: fields.optional()?,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        ListWriter::new(out, 0x10)
            .put(&self.container_id)
            .put_option(self.hostname.as_deref())
            .put(&self.max_frame_size)
            .put(&self.channel_max)
            .put_option(self.idle_time_out)
            .finish();
    }
}

/// Begins a session (AMQP 1.0 2.7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin {
    /// In an answer, the channel of the begin that is answered.
    pub remote_channel: Option<u16>,
    /// Transfer-id of the sender's next transfer.
    pub next_outgoing_id: u32,
    /// Transfer frames the sender can take.
    pub incoming_window: u32,
    /// Transfer frames the sender wants to send.
    pub outgoing_window: u32,
    /// Highest link handle the sender takes.
    pub handle_max: u32,
}

impl Begin {
    pub(super) fn from_fields(fields: &mut Fields<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            remote_channel: fields.optional()?,
            next_outgoing_id: fields.required("next-outgoing-id")?,
            incoming_window: fields.required("incoming-window")?,
            outgoing_window: fields.required("outgoing-window")?,
            handle_max: fields.optional()?.unwrap_or(u32::MAX),
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        ListWriter::new(out, 0x11)
            .put_option(self.remote_channel)
            .put(&self.next_outgoing_id)
            .put(&self.incoming_window)
            .put(&self.outgoing_window)
            .put(&self.handle_max)
            .finish();
    }
}
