//! SUBACK (MQTT 3.1.1 3.9).

use bytes::{BufMut, BytesMut};

use crate::error::{DecodeError, EncodeError};
use crate::packet::reader::Reader;
use crate::packet::{PacketId, PacketKind, Qos, writer};

/// Answers SUBSCRIBE with one code per filter, in order ([MQTT-3.9.3-1]).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suback {
    /// The identifier of the SUBSCRIBE.
    pub packet_id: PacketId,
    /// The answers.
    pub codes: Vec<SubackCode>,
}

/// The answer to one filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubackCode {
    /// Granted with this quality of service.
    Granted(Qos),
    /// 0x80. This hub closes instead of sending it (mqtt.md §6.2); clients can meet it elsewhere.
    Failure,
}

impl SubackCode {
    fn number(self) -> u8 {
        match self {
            Self::Granted(qos) => qos.level(),
            Self::Failure => 0x80,
        }
    }
}

impl Suback {
    /// Appends the packet to `out`.
    ///
    /// # Errors
    /// [`EncodeError::PacketTooLong`], which no SUBSCRIBE of ours can lead to.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let remaining = self.codes.len().saturating_add(2);
        writer::put_header(out, PacketKind::Suback, 0, remaining)?;
        out.put_u16(self.packet_id.get());
        for code in &self.codes {
            out.put_u8(code.number());
        }
        Ok(())
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let packet_id = reader.packet_id()?;
        let mut codes = Vec::new();
        while !reader.is_at_end() {
            let number = reader.u8()?;
            codes.push(match (number, Qos::from_level(number)) {
                (_, Some(qos)) => SubackCode::Granted(qos),
                (0x80, None) => SubackCode::Failure,
                _ => return Err(DecodeError::ReturnCode(PacketKind::Suback, number)),
            });
        }
        Ok(Self { packet_id, codes })
    }
}
