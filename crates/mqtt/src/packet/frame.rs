//! Fixed headers and the cutting of a byte stream into packets.

use bytes::Bytes;

use crate::error::DecodeError;
use crate::packet::reader::Reader;
use crate::packet::{
    ClientPacket, Connack, Connect, Publish, ServerPacket, Suback, Subscribe, Unsubscribe,
};

/// A control packet type (MQTT 3.1.1 2.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the standard's own")]
pub enum PacketKind {
    Connect = 1,
    Connack = 2,
    Publish = 3,
    Puback = 4,
    Pubrec = 5,
    Pubrel = 6,
    Pubcomp = 7,
    Subscribe = 8,
    Suback = 9,
    Unsubscribe = 10,
    Unsuback = 11,
    Pingreq = 12,
    Pingresp = 13,
    Disconnect = 14,
}

impl PacketKind {
    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Connect,
            2 => Self::Connack,
            3 => Self::Publish,
            4 => Self::Puback,
            5 => Self::Pubrec,
            6 => Self::Pubrel,
            7 => Self::Pubcomp,
            8 => Self::Subscribe,
            9 => Self::Suback,
            10 => Self::Unsubscribe,
            11 => Self::Unsuback,
            12 => Self::Pingreq,
            13 => Self::Pingresp,
            14 => Self::Disconnect,
            _ => return None,
        })
    }

    /// Returns whether only a server may send this packet.
    pub(crate) fn is_server_only(self) -> bool {
        matches!(
            self,
            Self::Connack | Self::Suback | Self::Unsuback | Self::Pingresp
        )
    }

    /// Returns the value the four flag bits must have; PUBLISH alone uses them freely.
    fn fixed_flags(self) -> Option<u8> {
        match self {
            Self::Publish => None,
            Self::Pubrel | Self::Subscribe | Self::Unsubscribe => Some(0b0010),
            _ => Some(0),
        }
    }

    /// Returns the first byte of such a packet; `publish_flags` counts for PUBLISH only.
    pub(crate) fn first_byte(self, publish_flags: u8) -> u8 {
        ((self as u8) << 4) | self.fixed_flags().unwrap_or(publish_flags & 0x0F)
    }
}

/// A fixed header that has been read and found within its limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) kind: PacketKind,
    pub(crate) flags: u8,
    pub(crate) prefix_bytes: usize,
    pub(crate) body_bytes: usize,
}

impl Header {
    /// Reads a fixed header off the front of `bytes`, or nothing while it is incomplete.
    pub(crate) fn parse(
        bytes: &[u8],
        max_packet_bytes: usize,
    ) -> Result<Option<Self>, DecodeError> {
        let Some((&first, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        let number = first >> 4;
        let kind =
            PacketKind::from_number(number).ok_or(DecodeError::ReservedPacketType(number))?;
        let flags = first & 0x0F;
        if kind.fixed_flags().is_some_and(|fixed| fixed != flags) {
            return Err(DecodeError::FixedHeaderFlags(kind));
        }
        let Some((body_bytes, length_bytes)) = remaining_length(rest)? else {
            return Ok(None);
        };
        let prefix_bytes = length_bytes.saturating_add(1);
        let announced_bytes = prefix_bytes.saturating_add(body_bytes);
        if announced_bytes > max_packet_bytes {
            return Err(DecodeError::PacketTooLarge {
                announced_bytes,
                max_bytes: max_packet_bytes,
            });
        }
        Ok(Some(Self {
            kind,
            flags,
            prefix_bytes,
            body_bytes,
        }))
    }

    pub(crate) fn packet_bytes(&self) -> usize {
        self.prefix_bytes.saturating_add(self.body_bytes)
    }
}

/// Reads a remaining length: its value and the bytes it takes.
fn remaining_length(bytes: &[u8]) -> Result<Option<(usize, usize)>, DecodeError> {
    let mut value = 0_usize;
    for (position, byte) in bytes.iter().take(4).enumerate() {
        let shift = position.saturating_mul(7);
        value |= usize::from(byte & 0x7F) << shift;
        if byte & 0x80 == 0 {
            return Ok(Some((value, position.saturating_add(1))));
        }
    }
    if bytes.len() >= 4 {
        Err(DecodeError::RemainingLength)
    } else {
        Ok(None)
    }
}

/// One whole packet, not yet taken apart.
#[derive(Debug)]
pub struct Frame<'a> {
    header: Header,
    body: Body<'a>,
}

#[derive(Debug)]
enum Body<'a> {
    /// Lies in the caller's read buffer; a payload taken from it is copied.
    Borrowed(&'a [u8]),
    /// Lies in memory of its own; a payload taken from it is a slice.
    Owned(Bytes),
}

impl Frame<'_> {
    pub(crate) fn owned(header: Header, body: Bytes) -> Frame<'static> {
        Frame {
            header,
            body: Body::Owned(body),
        }
    }

    /// Returns the packet's type.
    pub fn kind(&self) -> PacketKind {
        self.header.kind
    }

    /// Takes the frame apart as a packet of a client.
    ///
    /// # Errors
    /// [`DecodeError`] when the content is not valid or is a server's.
    pub fn into_client_packet(self) -> Result<ClientPacket, DecodeError> {
        let kind = self.header.kind;
        let mut reader = Reader::new(kind, self.body.as_slice());
        let packet = match kind {
            PacketKind::Connect => ClientPacket::Connect(Box::new(Connect::decode(&mut reader)?)),
            PacketKind::Publish => return self.into_publish().map(ClientPacket::Publish),
            PacketKind::Puback => ClientPacket::Puback(reader.packet_id()?),
            PacketKind::Subscribe => ClientPacket::Subscribe(Subscribe::decode(&mut reader)?),
            PacketKind::Unsubscribe => ClientPacket::Unsubscribe(Unsubscribe::decode(&mut reader)?),
            PacketKind::Pingreq => ClientPacket::Pingreq,
            PacketKind::Disconnect => ClientPacket::Disconnect,
            PacketKind::Pubrec | PacketKind::Pubrel | PacketKind::Pubcomp => {
                return Err(DecodeError::QosTwo(kind));
            }
            PacketKind::Connack
            | PacketKind::Suback
            | PacketKind::Unsuback
            | PacketKind::Pingresp => return Err(DecodeError::WrongDirection(kind)),
        };
        reader.finish()?;
        Ok(packet)
    }

    /// Takes the frame apart as a packet of a server; for tests and simulated devices.
    ///
    /// # Errors
    /// [`DecodeError`] when the content is not valid or is a client's.
    pub fn into_server_packet(self) -> Result<ServerPacket, DecodeError> {
        let kind = self.header.kind;
        let mut reader = Reader::new(kind, self.body.as_slice());
        let packet = match kind {
            PacketKind::Connack => ServerPacket::Connack(Connack::decode(&mut reader)?),
            PacketKind::Publish => return self.into_publish().map(ServerPacket::Publish),
            PacketKind::Puback => ServerPacket::Puback(reader.packet_id()?),
            PacketKind::Suback => ServerPacket::Suback(Suback::decode(&mut reader)?),
            PacketKind::Unsuback => ServerPacket::Unsuback(reader.packet_id()?),
            PacketKind::Pingresp => ServerPacket::Pingresp,
            PacketKind::Pubrec | PacketKind::Pubrel | PacketKind::Pubcomp => {
                return Err(DecodeError::QosTwo(kind));
            }
            PacketKind::Connect
            | PacketKind::Subscribe
            | PacketKind::Unsubscribe
            | PacketKind::Pingreq
            | PacketKind::Disconnect => return Err(DecodeError::WrongDirection(kind)),
        };
        reader.finish()?;
        Ok(packet)
    }

    fn into_publish(self) -> Result<Publish, DecodeError> {
        let (mut publish, payload_bytes) =
            Publish::decode_head(self.header.flags, self.body.as_slice())?;
        publish.payload = self.body.into_tail(payload_bytes);
        Ok(publish)
    }
}

impl Body<'_> {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Borrowed(slice) => slice,
            Self::Owned(bytes) => bytes,
        }
    }

    /// Returns the last `length` bytes; the head is let go.
    fn into_tail(self, length: usize) -> Bytes {
        match self {
            Self::Borrowed(slice) => {
                let start = slice.len().saturating_sub(length);
                Bytes::copy_from_slice(slice.get(start..).unwrap_or_default())
            }
            Self::Owned(mut bytes) => {
                let start = bytes.len().saturating_sub(length);
                bytes.split_off(start)
            }
        }
    }
}

/// Cuts a byte stream into packets while keeping no more than the packet that is incomplete.
///
/// Made for a scratch buffer shared by many connections: a packet that lies whole in the chunk is read in
/// place, and only the start of an incomplete one is copied. What is kept grows with the bytes that came, never
/// with the length that was announced, and is let go when the packet is complete.
#[derive(Debug)]
pub struct FrameReader {
    partial: Vec<u8>,
    max_packet_bytes: usize,
}

impl FrameReader {
    /// Makes a reader that refuses packets over `max_packet_bytes`, fixed header included.
    pub fn new(max_packet_bytes: usize) -> Self {
        Self {
            partial: Vec::new(),
            max_packet_bytes,
        }
    }

    /// Changes the limit for the packets that follow.
    pub fn set_max_packet_bytes(&mut self, max_packet_bytes: usize) {
        self.max_packet_bytes = max_packet_bytes;
    }

    /// Returns how much memory is held for an incomplete packet; never more than the limit.
    pub fn held_bytes(&self) -> usize {
        self.partial.capacity()
    }

    /// Takes the next packet from what is kept and from `chunk`, moving `chunk` past what it used.
    ///
    /// Nothing comes back only when all of `chunk` has been used.
    ///
    /// # Errors
    /// [`DecodeError`] for the fixed header, as soon as it can be read; the stream is then of no further use.
    pub fn next<'a>(&mut self, chunk: &mut &'a [u8]) -> Result<Option<Frame<'a>>, DecodeError> {
        if !self.partial.is_empty() {
            return self.complete_partial(chunk);
        }
        match Header::parse(chunk, self.max_packet_bytes)? {
            Some(header) if chunk.len() >= header.packet_bytes() => Ok(Some(cut(header, chunk))),
            _ => {
                self.keep(chunk, chunk.len());
                *chunk = &[];
                Ok(None)
            }
        }
    }

    fn complete_partial<'a>(
        &mut self,
        chunk: &mut &'a [u8],
    ) -> Result<Option<Frame<'a>>, DecodeError> {
        loop {
            let wanted = match Header::parse(&self.partial, self.max_packet_bytes)? {
                Some(header) => {
                    let wanted = header.packet_bytes().saturating_sub(self.partial.len());
                    if wanted == 0 {
                        let mut body = Bytes::from(std::mem::take(&mut self.partial));
                        return Ok(Some(Frame::owned(
                            header,
                            body.split_off(header.prefix_bytes),
                        )));
                    }
                    wanted
                }
                // The header is read byte by byte, so that no byte of the body is taken too early.
                None => 1,
            };
            let taken = wanted.min(chunk.len());
            if taken == 0 {
                return Ok(None);
            }
            let (head, rest) = chunk.split_at(taken);
            self.keep(head, wanted);
            *chunk = rest;
        }
    }

    /// Keeps `bytes`, growing by doubling but never past the `wanted` bytes that complete the packet.
    fn keep(&mut self, bytes: &[u8], wanted: usize) {
        let spare = self.partial.capacity().saturating_sub(self.partial.len());
        if spare < bytes.len() {
            let growth = self
                .partial
                .len()
                .max(bytes.len())
                .min(wanted)
                .max(bytes.len());
            self.partial.reserve_exact(growth);
        }
        self.partial.extend_from_slice(bytes);
    }
}

fn cut<'a>(header: Header, chunk: &mut &'a [u8]) -> Frame<'a> {
    let (packet, rest) = chunk.split_at(header.packet_bytes());
    *chunk = rest;
    let (_, body) = packet.split_at(header.prefix_bytes);
    Frame {
        header,
        body: Body::Borrowed(body),
    }
}
