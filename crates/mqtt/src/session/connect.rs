//! The stage before a session: the first packet and nothing else.

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::error::{DecodeError, Violation};
use crate::identity::ClientIdentity;
use crate::packet::{
    ClientPacket, Connack, Connect, ConnectReturnCode, encode_unsupported_version_v5,
};
use crate::session::{KeepAlive, Will};
use crate::username::{Username, UsernameError};

/// A connection of which nothing is known yet.
#[derive(Debug)]
pub struct AwaitingConnect;

/// What a client asks for, valid in form and not yet authenticated.
///
/// `Debug` leaves the password out.
#[derive(PartialEq, Eq)]
pub struct ConnectRequest {
    /// Whose connection it is to be; equal to the client id.
    pub identity: ClientIdentity,
    /// The user name with the identity's origin and the client's own description.
    pub username: Username,
    /// The token; absent or empty means a certificate is to vouch (mqtt.md §2.1).
    pub password: Option<Bytes>,
    /// Whether an earlier session is deleted and none is kept.
    pub clean_session: bool,
    /// How long the connection lives without a packet.
    pub keep_alive: KeepAlive,
    /// The message to publish on any end without DISCONNECT.
    pub will: Option<Will>,
}

/// Why a connection does not come about, and with which last bytes (mqtt.md §3).
#[derive(Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// The user name fits no form, or is missing: CONNACK 5.
    #[error("user name is malformed")]
    Username(#[from] UsernameError),
    /// The client id is not the identity of the user name: CONNACK 5.
    #[error("client id differs from the identity in the user name")]
    ClientId,
    /// The will is not for the client's own telemetry topic, or not readable: CONNACK 5.
    #[error("will is not acceptable")]
    Will(#[source] Violation),
    /// Another protocol level: CONNACK 1, or that of MQTT 5 with 0x84.
    #[error("protocol level {0} is not supported [MQTT-3.1.2-2]")]
    ProtocolLevel(u8),
    /// Not MQTT, or not in order: no answer at all ([MQTT-4.8.0-1]).
    #[error("connection does not begin with a valid CONNECT")]
    Violation(#[source] Violation),
}

impl AwaitingConnect {
    /// Takes the first packet.
    ///
    /// # Errors
    /// [`Refusal`]: write what [`Refusal::encode`] gives, then close.
    pub fn on_packet(self, packet: ClientPacket) -> Result<ConnectRequest, Refusal> {
        match packet {
            ClientPacket::Connect(connect) => ConnectRequest::from_connect(*connect),
            other => Err(Refusal::Violation(Violation::ConnectExpected(other.kind()))),
        }
    }
}

impl ConnectRequest {
    fn from_connect(connect: Connect) -> Result<Self, Refusal> {
        let username = Username::parse(connect.username.as_deref().unwrap_or_default())?;
        if !username.identity.is_named_by(&connect.client_id) {
            return Err(Refusal::ClientId);
        }
        let will = match connect.will {
            Some(will) => {
                Some(Will::from_connect(will, &username.identity).map_err(Refusal::Will)?)
            }
            None => None,
        };
        Ok(Self {
            identity: username.identity.clone(),
            username,
            password: connect.password.filter(|password| !password.is_empty()),
            clean_session: connect.clean_session,
            keep_alive: KeepAlive::from_seconds(connect.keep_alive_seconds),
            will,
        })
    }
}

impl Refusal {
    /// Appends the bytes to write before closing; none when the answer is silence.
    pub fn encode(&self, out: &mut BytesMut) {
        let code = match self {
            Self::Username(_) | Self::ClientId | Self::Will(_) => ConnectReturnCode::NotAuthorized,
            Self::ProtocolLevel(5) => return encode_unsupported_version_v5(out),
            Self::ProtocolLevel(_) => ConnectReturnCode::UnacceptableProtocolVersion,
            Self::Violation(_) => return,
        };
        Connack::Refused(code).encode(out);
    }
}

impl From<DecodeError> for Refusal {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::ProtocolLevel(level) => Self::ProtocolLevel(level),
            other => Self::Violation(Violation::Decode(other)),
        }
    }
}

impl std::fmt::Debug for ConnectRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectRequest")
            .field("identity", &self.identity)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("clean_session", &self.clean_session)
            .field("keep_alive", &self.keep_alive)
            .field("will", &self.will)
            .finish()
    }
}
