//! Framing (AMQP 1.0 2.3) and the protocol headers that precede it (2.2, 5.3.2).

use crate::{
    performative::Performative,
    types::{DecodeError, Reader},
};

/// Length of a protocol header and of the fixed part of a frame, in bytes.
pub const HEADER_BYTES: usize = 8;

/// Smallest max-frame-size a peer may announce, in bytes (AMQP 1.0 2.7.1).
pub const MIN_MAX_FRAME_BYTES: u32 = 512;

/// A frame without a body, which only shows that the peer lives.
pub const EMPTY_FRAME: [u8; HEADER_BYTES] = [0, 0, 0, 8, 2, 0, 0, 0];

/// What a protocol header asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProtocolHeader {
    /// Plain AMQP frames.
    Amqp,
    /// The SASL layer first.
    Sasl,
}

impl ProtocolHeader {
    /// Reads a header, `None` for another protocol or version.
    pub fn parse(bytes: [u8; HEADER_BYTES]) -> Option<Self> {
        [Self::Amqp, Self::Sasl]
            .into_iter()
            .find(|header| header.bytes() == bytes)
    }

    /// Returns the bytes of the header.
    pub fn bytes(self) -> [u8; HEADER_BYTES] {
        match self {
            Self::Amqp => *b"AMQP\x00\x01\x00\x00",
            Self::Sasl => *b"AMQP\x03\x01\x00\x00",
        }
    }
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameType {
    /// A performative and its payload, or nothing.
    Amqp,
    /// A step of the SASL exchange.
    Sasl,
}

/// One frame, its size already checked; the body is not decoded yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the body is.
    pub frame_type: FrameType,
    /// Channel of an AMQP frame.
    pub channel: u16,
    /// Performative and payload.
    pub body: &'a [u8],
    /// Length of the whole frame, in bytes.
    pub size: usize,
}

/// Bytes that are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The announced size is above the limit in force.
    #[error("frame of {size} bytes exceeds the limit of {limit}")]
    TooLarge {
        /// Announced size in bytes.
        size: u32,
        /// Limit in bytes.
        limit: u32,
    },
    /// Size and data offset do not fit each other.
    #[error("frame header is malformed")]
    Malformed,
    /// The frame type is unknown.
    #[error("frame type {0} is unknown")]
    UnknownType(u8),
}

/// Finds the frame at the start of `bytes`; `None` while it is incomplete.
///
/// The size is checked as soon as its four bytes are there, so a peer that announces too much is
/// refused before anything is kept for it.
///
/// # Errors
/// [`FrameError`] when the bytes are no frame within `limit` bytes.
pub fn parse_frame(bytes: &[u8], limit: u32) -> Result<Option<Frame<'_>>, FrameError> {
    let Some((size, _)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let size = u32::from_be_bytes(*size);
    if size > limit {
        return Err(FrameError::TooLarge { size, limit });
    }
    let length = usize::try_from(size).map_err(|_| FrameError::Malformed)?;
    if length < HEADER_BYTES {
        return Err(FrameError::Malformed);
    }
    let Some((frame, _)) = bytes.split_at_checked(length) else {
        return Ok(None);
    };
    let Some(([_, _, _, _, offset, kind, channel @ ..], _)) = frame.split_first_chunk::<8>() else {
        return Err(FrameError::Malformed);
    };
    let frame_type = match kind {
        0 => FrameType::Amqp,
        1 => FrameType::Sasl,
        other => return Err(FrameError::UnknownType(*other)),
    };
    // The data offset counts words of four bytes and covers the header and its extension.
    let offset = usize::from(*offset).saturating_mul(4);
    if offset < HEADER_BYTES {
        return Err(FrameError::Malformed);
    }
    let body = frame.get(offset..).ok_or(FrameError::Malformed)?;
    Ok(Some(Frame {
        frame_type,
        channel: u16::from_be_bytes(*channel),
        body,
        size: length,
    }))
}

/// Reads the performative of an AMQP frame and returns it with the payload behind it; `None` for
/// an empty frame.
///
/// # Errors
/// [`DecodeError`] when the body is no performative.
pub fn decode_body(body: &[u8]) -> Result<Option<(Performative, &[u8])>, DecodeError> {
    if body.is_empty() {
        return Ok(None);
    }
    let mut reader = Reader::new(body);
    let performative = Performative::decode(&mut reader)?;
    Ok(Some((performative, reader.rest())))
}

/// Appends a frame whose body `write` makes, and returns its size in bytes.
pub fn write_frame(
    out: &mut Vec<u8>,
    frame_type: FrameType,
    channel: u16,
    write: impl FnOnce(&mut Vec<u8>),
) -> usize {
    let start = out.len();
    out.extend([0; 4]);
    let kind = match frame_type {
        FrameType::Amqp => 0,
        FrameType::Sasl => 1,
    };
    out.extend([2, kind]);
    out.extend(channel.to_be_bytes());
    write(out);
    finish_frame(out, start)
}

/// Fills in the size of the frame that starts at `start` and reaches to the end.
pub(crate) fn finish_frame(out: &mut [u8], start: usize) -> usize {
    let size = out.len().saturating_sub(start);
    let announced = u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(field) = out
        .get_mut(start..)
        .and_then(|frame| frame.first_chunk_mut::<4>())
    {
        *field = announced;
    }
    size
}

#[cfg(test)]
mod tests;
