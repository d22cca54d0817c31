//! CONNECT (MQTT 3.1.1 3.1).

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::error::{DecodeError, EncodeError};
use crate::packet::reader::Reader;
use crate::packet::{PacketKind, Qos, writer};

const RESERVED: u8 = 0b0000_0001;
const CLEAN_SESSION: u8 = 0b0000_0010;
const WILL: u8 = 0b0000_0100;
const WILL_QOS: u8 = 0b0001_1000;
const WILL_RETAIN: u8 = 0b0010_0000;
const PASSWORD: u8 = 0b0100_0000;
const USERNAME: u8 = 0b1000_0000;

/// The protocol level of MQTT 3.1.1.
const LEVEL: u8 = 4;

/// The first packet of a client. `Debug` leaves the password out.
#[derive(Clone, PartialEq, Eq)]
pub struct Connect {
    /// The client identifier; may be empty on the wire.
    pub client_id: String,
    /// Whether an earlier session is thrown away and none is kept.
    pub clean_session: bool,
    /// Seconds between packets that the client promises; 0 promises nothing.
    pub keep_alive_seconds: u16,
    /// The message to publish when the connection ends without DISCONNECT.
    pub will: Option<ConnectWill>,
    /// The user name.
    pub username: Option<String>,
    /// The password; here a token.
    pub password: Option<Bytes>,
}

/// The will as CONNECT carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectWill {
    /// Where it is published.
    pub topic: String,
    /// What is published.
    pub payload: Bytes,
    /// With which quality of service.
    pub qos: Qos,
    /// Whether it asks to be retained.
    pub retain: bool,
}

impl Connect {
    /// Makes a CONNECT with an identifier, a persistent session and nothing else.
    pub fn new(client_id: impl Into<String>) -> Self {
        Self {
            client_id: client_id.into(),
            clean_session: false,
            keep_alive_seconds: 0,
            will: None,
            username: None,
            password: None,
        }
    }

    /// Sets the user name.
    #[must_use]
    pub fn with_username(mut self, username: impl Into<String>) -> Self {
        self.username = Some(username.into());
        self
    }

    /// Sets the password, which the standard allows beside a user name only.
    #[must_use]
    pub fn with_password(mut self, password: impl Into<Bytes>) -> Self {
        self.password = Some(password.into());
        self
    }

    pub(crate) fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let name = reader.binary()?;
        if name != b"MQTT" && name != b"MQIsdp" {
            return Err(DecodeError::ProtocolName);
        }
        // What follows depends on the level, so no other level is read further.
        let level = reader.u8()?;
        if level != LEVEL {
            return Err(DecodeError::ProtocolLevel(level));
        }
        if name != b"MQTT" {
            return Err(DecodeError::ProtocolName);
        }
        let flags = reader.u8()?;
        let will_qos = check_flags(flags)?;
        let keep_alive_seconds = reader.u16()?;
        let client_id = reader.text()?.to_owned();
        let will = match will_qos {
            Some(qos) => Some(ConnectWill {
                topic: reader.topic()?.to_owned(),
                payload: Bytes::copy_from_slice(reader.binary()?),
                qos,
                retain: flags & WILL_RETAIN != 0,
            }),
            None => None,
        };
        let username = if flags & USERNAME == 0 {
            None
        } else {
            Some(reader.text()?.to_owned())
        };
        let password = if flags & PASSWORD == 0 {
            None
        } else {
            Some(Bytes::copy_from_slice(reader.binary()?))
        };
        let clean_session = flags & CLEAN_SESSION != 0;
        Ok(Self {
            client_id,
            clean_session,
            keep_alive_seconds,
            will,
            username,
            password,
        })
    }

    pub(crate) fn encode(&self, out: &mut BytesMut) -> Result<(), EncodeError> {
        let mut remaining = 10_usize;
        for field in self.fields() {
            remaining = remaining.saturating_add(writer::field_bytes(field)?);
        }
        writer::put_header(out, PacketKind::Connect, 0, remaining)?;
        writer::put_field(out, b"MQTT");
        out.put_u8(LEVEL);
        out.put_u8(self.flags());
        out.put_u16(self.keep_alive_seconds);
        for field in self.fields() {
            writer::put_field(out, field);
        }
        Ok(())
    }

    /// Returns the payload's fields in their order on the wire (MQTT 3.1.1 3.1.3).
    fn fields(&self) -> impl Iterator<Item = &[u8]> {
        let will = self
            .will
            .iter()
            .flat_map(|will| [will.topic.as_bytes(), &will.payload]);
        std::iter::once(self.client_id.as_bytes())
            .chain(will)
            .chain(self.username.as_ref().map(String::as_bytes))
            .chain(self.password.as_deref())
    }

    fn flags(&self) -> u8 {
        let mut flags = 0;
        if self.clean_session {
            flags |= CLEAN_SESSION;
        }
        if let Some(will) = &self.will {
            flags |= WILL | (will.qos.level() << 3);
            if will.retain {
                flags |= WILL_RETAIN;
            }
        }
        if self.username.is_some() {
            flags |= USERNAME;
        }
        if self.password.is_some() {
            flags |= PASSWORD;
        }
        flags
    }
}

/// Checks the connect flags and returns the will's quality of service when there is a will.
fn check_flags(flags: u8) -> Result<Option<Qos>, DecodeError> {
    if flags & RESERVED != 0 {
        return Err(DecodeError::ReservedConnectFlag);
    }
    if flags & PASSWORD != 0 && flags & USERNAME == 0 {
        return Err(DecodeError::PasswordWithoutUsername);
    }
    if flags & WILL == 0 {
        return if flags & (WILL_QOS | WILL_RETAIN) == 0 {
            Ok(None)
        } else {
            Err(DecodeError::WillFlags)
        };
    }
    Qos::from_level((flags & WILL_QOS) >> 3)
        .map(Some)
        .ok_or(DecodeError::WillQosThree)
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("client_id", &self.client_id)
            .field("clean_session", &self.clean_session)
            .field("keep_alive_seconds", &self.keep_alive_seconds)
            .field("will", &self.will)
            .field("username", &self.username)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .finish()
    }
}
