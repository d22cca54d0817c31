//! Reads fields off the front of a packet body; no read goes past the end.

use crate::error::DecodeError;
use crate::packet::{PacketId, PacketKind};

pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    kind: PacketKind,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(kind: PacketKind, body: &'a [u8]) -> Self {
        Self { rest: body, kind }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(crate) fn remaining_bytes(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self
            .rest
            .split_first()
            .ok_or(DecodeError::Truncated(self.kind))?;
        self.rest = rest;
        Ok(*first)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        let (first, rest) = self
            .rest
            .split_first_chunk::<2>()
            .ok_or(DecodeError::Truncated(self.kind))?;
        self.rest = rest;
        Ok(u16::from_be_bytes(*first))
    }

    pub(crate) fn packet_id(&mut self) -> Result<PacketId, DecodeError> {
        let value = self.u16()?;
        PacketId::new(value).ok_or(DecodeError::ZeroPacketId(self.kind))
    }

    pub(crate) fn binary(&mut self) -> Result<&'a [u8], DecodeError> {
        let length = usize::from(self.u16()?);
        let (field, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or(DecodeError::Truncated(self.kind))?;
        self.rest = rest;
        Ok(field)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let field = self.binary()?;
        let text = std::str::from_utf8(field).map_err(|_| DecodeError::InvalidUtf8(self.kind))?;
        if text.contains('\0') {
            return Err(DecodeError::NullCharacter(self.kind));
        }
        Ok(text)
    }

    /// Reads a topic name or filter, which has at least one character.
    pub(crate) fn topic(&mut self) -> Result<&'a str, DecodeError> {
        let topic = self.text()?;
        if topic.is_empty() {
            return Err(DecodeError::EmptyTopic(self.kind));
        }
        Ok(topic)
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::TrailingBytes(self.kind))
        }
    }
}
