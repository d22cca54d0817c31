//! Control packets of MQTT 3.1.1, one file each, and the framing around them.

mod connack;
mod connect;
mod frame;
mod packet_id;
mod publish;
mod qos;
mod reader;
mod suback;
mod subscribe;
mod unsubscribe;
mod writer;

use bytes::{Buf, BytesMut};

pub use self::connack::{Connack, ConnectReturnCode, encode_unsupported_version_v5};
pub use self::connect::{Connect, ConnectWill};
pub use self::frame::{Frame, FrameReader, PacketKind};
pub use self::packet_id::PacketId;
pub use self::publish::{Delivery, Publish, encode_publish_head};
pub use self::qos::Qos;
pub use self::suback::{Suback, SubackCode};
pub use self::subscribe::{Subscribe, SubscribeFilter};
pub use self::unsubscribe::Unsubscribe;

use crate::error::{DecodeError, EncodeError};

/// A packet that a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientPacket {
    /// Opens the connection.
    Connect(Box<Connect>),
    /// A message to the hub.
    Publish(Publish),
    /// Acknowledges a publish of the hub.
    Puback(PacketId),
    /// Asks for subscriptions.
    Subscribe(Subscribe),
    /// Gives subscriptions up.
    Unsubscribe(Unsubscribe),
    /// Asks for a sign of life.
    Pingreq,
    /// Ends the connection in order.
    Disconnect,
}

/// A packet that the server sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerPacket {
    /// Answers CONNECT.
    Connack(Connack),
    /// A message to the device.
    Publish(Publish),
    /// Acknowledges a publish of the device.
    Puback(PacketId),
    /// Answers SUBSCRIBE.
    Suback(Suback),
    /// Answers UNSUBSCRIBE.
    Unsuback(PacketId),
    /// Answers PINGREQ.
    Pingresp,
}

/// Takes the next client packet off the front of `buffer`, or nothing while it is incomplete.
///
/// The announced length is compared with `max_packet_bytes` before anything is kept for it. The payload of a
/// publish shares the buffer's memory. A connection that reads into a shared scratch buffer uses
/// [`FrameReader`] instead.
///
/// # Errors
/// [`DecodeError`] as soon as the bytes at hand show it; the buffer is then of no further use.
pub fn decode(
    buffer: &mut BytesMut,
    max_packet_bytes: usize,
) -> Result<Option<ClientPacket>, DecodeError> {
    let Some(header) = frame::Header::parse(buffer, max_packet_bytes)? else {
        return Ok(None);
    };
    if header.kind.is_server_only() {
        return Err(DecodeError::WrongDirection(header.kind));
    }
    if buffer.len() < header.packet_bytes() {
        return Ok(None);
    }
    let mut packet = buffer.split_to(header.packet_bytes()).freeze();
    packet.advance(header.prefix_bytes);
    Frame::owned(header, packet).into_client_packet().map(Some)
}

impl ClientPacket {
    /// Returns the packet's type.
    pub fn kind(&self) -> PacketKind {
        match self {
            Self::Connect(_) => PacketKind::Connect,
            Self::Publish(_) => PacketKind::Publish,
            Self::Puback(_) => PacketKind::Puback,
            Self::Subscribe(_) => PacketKind::Subscribe,
            Self::Unsubscribe(_) => PacketKind::Unsubscribe,
            Self::Pingreq => PacketKind::Pingreq,
            Self::Disconnect => PacketKind::Disconnect,
        }
    }

    /// Appends the packet's bytes to `out`.
    ///
    /// # Errors
    /// [`EncodeError`] when a field does not fit its length prefix; `out` then holds no part of the packet.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Self::Connect(connect) => connect.encode(out),
            Self::Publish(publish) => publish.encode(out),
            Self::Puback(id) => {
                encode_puback(*id, out);
                Ok(())
            }
            Self::Subscribe(subscribe) => subscribe.encode(out),
            Self::Unsubscribe(unsubscribe) => unsubscribe.encode(out),
            Self::Pingreq => {
                writer::put_empty(out, PacketKind::Pingreq);
                Ok(())
            }
            Self::Disconnect => {
                writer::put_empty(out, PacketKind::Disconnect);
                Ok(())
            }
        }
    }
}

impl ServerPacket {
    /// Appends the packet's bytes to `out`.
    ///
    /// # Errors
    /// [`EncodeError`] when a field does not fit its length prefix; `out` then holds no part of the packet.
    pub fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        match self {
            Self::Connack(connack) => connack.encode(out),
            Self::Publish(publish) => return publish.encode(out),
            Self::Puback(id) => encode_puback(*id, out),
            Self::Suback(suback) => return suback.encode(out),
            Self::Unsuback(id) => encode_unsuback(*id, out),
            Self::Pingresp => encode_pingresp(out),
        }
        Ok(())
    }
}

/// Appends a PUBACK.
pub fn encode_puback(id: PacketId, out: &mut BytesMut) {
    writer::put_packet_id_only(out, PacketKind::Puback, id);
}

/// Appends an UNSUBACK.
pub fn encode_unsuback(id: PacketId, out: &mut BytesMut) {
    writer::put_packet_id_only(out, PacketKind::Unsuback, id);
}

/// Appends a PINGRESP.
pub fn encode_pingresp(out: &mut BytesMut) {
    writer::put_empty(out, PacketKind::Pingresp);
}

impl From<Connect> for ClientPacket {
    fn from(connect: Connect) -> Self {
        Self::Connect(Box::new(connect))
    }
}
