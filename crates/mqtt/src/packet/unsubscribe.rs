//! UNSUBSCRIBE (MQTT 3.1.1 3.10).

use bytes::{BufMut, BytesMut};

use crate::error::{DecodeError, EncodeError};
use crate::limits::MAX_FILTERS_PER_PACKET;
use crate::packet::reader::Reader;
use crate::packet::{PacketId, PacketKind, writer};

/// Gives subscriptions up; answered by UNSUBACK whether or not they existed ([MQTT-3.10.4-5]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsubscribe {
    /// The identifier that UNSUBACK repeats.
    pub packet_id: PacketId,
    /// The filters as written; at least one.
    pub filters: Vec<String>,
}

impl Unsubscribe {
    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = PacketKind::Unsubscribe;
        let packet_id = reader.packet_id()?;
        let mut filters = Vec::new();
        while !reader.is_at_end() {
            if filters.len() == MAX_FILTERS_PER_PACKET {
                return Err(DecodeError::TooManyFilters(kind));
            }
            filters.push(reader.topic()?.to_owned());
        }
        if filters.is_empty() {
            return Err(DecodeError::NoFilter(kind));
        }
        Ok(Self { packet_id, filters })
    }

    pub(crate) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let mut remaining = 2_usize;
        for filter in &self.filters {
            remaining = remaining.saturating_add(writer::field_bytes(filter.as_bytes())?);
        }
        writer::put_header(out, PacketKind::Unsubscribe, 0, remaining)?;
        out.put_u16(self.packet_id.get());
        for filter in &self.filters {
            writer::put_field(out, filter.as_bytes());
        }
        Ok(())
    }
}
