//! Writes fields and headers; every length is checked before the first byte goes out.

use bytes::{BufMut, BytesMut};

use crate::error::EncodeError;
use crate::packet::{PacketId, PacketKind};

/// Largest remaining length four bytes can say (MQTT 3.1.1 2.2.3).
const MAX_REMAINING_LENGTH: usize = 268_435_455;

/// Returns the bytes a text or binary field takes, or an error when it does not fit its prefix.
pub(crate) fn field_bytes(field: &[u8]) -> Result<usize, EncodeError> {
    if u16::try_from(field.len()).is_err() {
        return Err(EncodeError::FieldTooLong(field.len()));
    }
    Ok(field.len().saturating_add(2))
}

/// Writes a fixed header and makes room for what it announces.
pub(crate) fn put_header(
    out: &mut BytesMut,
    kind: PacketKind,
    flags: u8,
    remaining: usize,
) -> Result<(), EncodeError> {
    if remaining > MAX_REMAINING_LENGTH {
        return Err(EncodeError::PacketTooLong(remaining));
    }
    out.put_u8(kind.first_byte(flags));
    let mut rest = remaining;
    loop {
        let low = u8::try_from(rest & 0x7F).unwrap_or(0x7F);
        rest >>= 7;
        if rest == 0 {
            out.put_u8(low);
            return Ok(());
        }
        out.put_u8(low | 0x80);
    }
}

/// Writes a field that [`field_bytes`] has accepted.
pub(crate) fn put_field(out: &mut BytesMut, field: &[u8]) {
    let length = u16::try_from(field.len());
    debug_assert!(length.is_ok(), "measured by field_bytes");
    out.put_u16(length.unwrap_or(u16::MAX));
    out.put_slice(field);
}

/// Writes a packet that consists of its fixed header.
pub(crate) fn put_empty(out: &mut BytesMut, kind: PacketKind) {
    out.put_slice(&[kind.first_byte(0), 0]);
}

/// Writes a packet that consists of a packet identifier.
pub(crate) fn put_packet_id_only(out: &mut BytesMut, kind: PacketKind, id: PacketId) {
    let [high, low] = id.get().to_be_bytes();
    out.put_slice(&[kind.first_byte(0), 2, high, low]);
}
