//! PUBLISH (MQTT 3.1.1 3.3).

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::{DecodeError, EncodeError};
use crate::packet::reader::Reader;
use crate::packet::{PacketId, PacketKind, Qos, writer};

const RETAIN: u8 = 0b0001;
const QOS: u8 = 0b0110;
const DUP: u8 = 0b1000;

/// How a publish is delivered; quality of service 2 cannot be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Quality of service 0.
    AtMostOnce,
    /// Quality of service 1.
    AtLeastOnce {
        /// The identifier that PUBACK repeats.
        packet_id: PacketId,
        /// Whether this may be a repetition.
        dup: bool,
    },
}

impl Delivery {
    /// Returns the identifier to acknowledge, if one is due.
    pub fn packet_id(self) -> Option<PacketId> {
        match self {
            Self::AtMostOnce => None,
            Self::AtLeastOnce { packet_id, .. } => Some(packet_id),
        }
    }

    /// Returns whether the duplicate flag is set.
    pub fn is_dup(self) -> bool {
        matches!(self, Self::AtLeastOnce { dup: true, .. })
    }
}

/// A message in either direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// Where it goes; at least one character, wildcards not yet looked for.
    pub topic: String,
    /// How it is delivered.
    pub delivery: Delivery,
    /// Whether it asks to be retained.
    pub retain: bool,
    /// The content.
    pub payload: Bytes,
}

impl Publish {
    /// Reads all but the payload and returns how many bytes of the body's end are payload.
    pub(crate) fn decode_head(flags: u8, body: &[u8]) -> Result<(Self, usize), DecodeError> {
        let kind = PacketKind::Publish;
        let dup = flags & DUP != 0;
        let qos = Qos::from_level((flags & QOS) >> 1).ok_or(DecodeError::QosThree)?;
        let mut reader = Reader::new(kind, body);
        let topic = reader.topic()?.to_owned();
        let delivery = match qos {
            Qos::AtMostOnce if dup => return Err(DecodeError::DuplicateAtMostOnce),
            Qos::AtMostOnce => Delivery::AtMostOnce,
            Qos::AtLeastOnce => Delivery::AtLeastOnce {
                packet_id: reader.packet_id()?,
                dup,
            },
            Qos::ExactlyOnce => return Err(DecodeError::QosTwo(kind)),
        };
        let head = Self {
            topic,
            delivery,
            retain: flags & RETAIN != 0,
            payload: Bytes::new(),
        };
        Ok((head, reader.remaining_bytes()))
    }

    pub(crate) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let retain = if self.retain { RETAIN } else { 0 };
        put_head(&self.topic, self.delivery, retain, self.payload.len(), out)?;
        out.put_slice(&self.payload);
        Ok(())
    }
}

/// Appends everything of a PUBLISH but its payload, so that the payload need not be copied.
///
/// RETAIN is 0, as on every publish of this hub (mqtt.md §8.1 rule 11). Exactly `payload_bytes` bytes must
/// follow on the wire.
///
/// # Errors
/// [`EncodeError`] when topic or packet do not fit MQTT's lengths; `out` is then unchanged.
pub fn encode_publish_head(
    topic: &str,
    delivery: Delivery,
    payload_bytes: usize,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    put_head(topic, delivery, 0, payload_bytes, out)
}

fn put_head(
    topic: &str,
    delivery: Delivery,
    retain: u8,
    payload_bytes: usize,
    out: &mut BytesMut,
) -> Result<(), EncodeError> {
    let (flags, id_bytes) = match delivery {
        Delivery::AtMostOnce => (retain, 0),
        Delivery::AtLeastOnce { dup, .. } => (
            retain | (Qos::AtLeastOnce.level() << 1) | if dup { DUP } else { 0 },
            2,
        ),
    };
    let remaining = writer::field_bytes(topic.as_bytes())?
        .saturating_add(id_bytes)
        .saturating_add(payload_bytes);
    writer::put_header(out, PacketKind::Publish, flags, remaining)?;
    writer::put_field(out, topic.as_bytes());
    if let Some(id) = delivery.packet_id() {
        out.put_u16(id.get());
    }
    Ok(())
}
