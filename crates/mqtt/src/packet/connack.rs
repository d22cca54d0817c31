//! CONNACK (MQTT 3.1.1 3.2).

use bytes::{BufMut, BytesMut};

use crate::error::DecodeError;
use crate::packet::PacketKind;
use crate::packet::reader::Reader;

/// What a CONNACK says.
///
/// A level-4 client never gets 1, 2, 4 or more than 5 from this hub (mqtt.md §3); the standard's other codes
/// exist here because clients decode them, and 1 because a client of level 3 is told so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectReturnCode {
    /// 0: the connection is open.
    Accepted,
    /// 1: the protocol level is not supported.
    UnacceptableProtocolVersion,
    /// 2: the client identifier is not allowed.
    IdentifierRejected,
    /// 3: not now; every SDK tries again.
    ServerUnavailable,
    /// 4: user name or password are malformed.
    BadUsernameOrPassword,
    /// 5: the one refusal for credentials, identities and names.
    NotAuthorized,
}

impl ConnectReturnCode {
    fn number(self) -> u8 {
        match self {
            Self::Accepted => 0,
            Self::UnacceptableProtocolVersion => 1,
            Self::IdentifierRejected => 2,
            Self::ServerUnavailable => 3,
            Self::BadUsernameOrPassword => 4,
            Self::NotAuthorized => 5,
        }
    }

    fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Accepted,
            1 => Self::UnacceptableProtocolVersion,
            2 => Self::IdentifierRejected,
            3 => Self::ServerUnavailable,
            4 => Self::BadUsernameOrPassword,
            5 => Self::NotAuthorized,
            _ => return None,
        })
    }
}

/// The answer to CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connack {
    /// The connection is open.
    Accepted {
        /// Whether a stored session goes on ([MQTT-3.2.2-2], mqtt.md §3).
        session_present: bool,
    },
    /// The connection is refused; it is closed next ([MQTT-3.2.2-5]).
    Refused(ConnectReturnCode),
}

impl Connack {
    /// Appends the packet to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        let (flags, code) = match self {
            Self::Accepted { session_present } => {
                (u8::from(*session_present), ConnectReturnCode::Accepted)
            }
            Self::Refused(code) => (0, *code),
        };
        out.put_slice(&[PacketKind::Connack.first_byte(0), 2, flags, code.number()]);
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let flags = reader.u8()?;
        let number = reader.u8()?;
        let code = ConnectReturnCode::from_number(number)
            .ok_or(DecodeError::ReturnCode(PacketKind::Connack, number))?;
        match (code, flags) {
            (ConnectReturnCode::Accepted, 0 | 1) => Ok(Self::Accepted {
                session_present: flags == 1,
            }),
            (ConnectReturnCode::Accepted, _) | (_, 1..) => {
                Err(DecodeError::FixedHeaderFlags(PacketKind::Connack))
            }
            (refusal, 0) => Ok(Self::Refused(refusal)),
        }
    }
}

/// Appends the CONNACK of MQTT 5 with reason 0x84, Unsupported Protocol Version (mqtt.md §15).
pub fn encode_unsupported_version_v5(out: &mut BytesMut) {
    // Flags, reason code, length of the (absent) properties.
    out.put_slice(&[PacketKind::Connack.first_byte(0), 3, 0, 0x84, 0]);
}
