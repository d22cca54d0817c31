//! SUBSCRIBE (MQTT 3.1.1 3.8).

use bytes::{BufMut, BytesMut};

use crate::error::{DecodeError, EncodeError};
use crate::limits::MAX_FILTERS_PER_PACKET;
use crate::packet::reader::Reader;
use crate::packet::{PacketId, PacketKind, Qos, writer};

/// Asks for subscriptions, in one packet answered by one SUBACK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscribe {
    /// The identifier that SUBACK repeats.
    pub packet_id: PacketId,
    /// What is asked for; at least one.
    pub filters: Vec<SubscribeFilter>,
}

/// One filter of a SUBSCRIBE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubscribeFilter {
    /// The filter as written; at least one character.
    pub filter: String,
    /// The quality of service asked for.
    pub qos: Qos,
}

impl Subscribe {
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = PacketKind::Subscribe;
        let packet_id = reader.packet_id()?;
        let mut filters = Vec::new();
        while !reader.is_at_end() {
            if filters.len() == MAX_FILTERS_PER_PACKET {
                return Err(DecodeError::TooManyFilters(kind));
            }
            let filter = reader.topic()?.to_owned();
            let qos = Qos::from_level(reader.u8()?).ok_or(DecodeError::RequestedQos)?;
            filters.push(SubscribeFilter { filter, qos });
        }
        if filters.is_empty() {
            return Err(DecodeError::NoFilter(kind));
        }
        Ok(Self { packet_id, filters })
    }

    pub(crate) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let mut remaining = 2_usize;
        for entry in &self.filters {
            let field = writer::field_bytes(entry.filter.as_bytes())?;
            remaining = remaining.saturating_add(field).saturating_add(1);
        }
        writer::put_header(out, PacketKind::Subscribe, 0, remaining)?;
        out.put_u16(self.packet_id.get());
        for entry in &self.filters {
            writer::put_field(out, entry.filter.as_bytes());
            out.put_u8(entry.qos.level());
        }
        Ok(())
    }
}
