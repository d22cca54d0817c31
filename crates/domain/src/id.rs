//! Names and ids, each parsed once at the edge.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

use crate::caps;

/// A name that breaks its alphabet or length.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdError {
    /// Nothing, or more than the allowed number of characters.
    #[error("{kind} must have 1 to {max} characters, not {len}")]
    Length {
        /// What was being parsed.
        kind: &'static str,
        /// The longest allowed.
        max: usize,
        /// What it had.
        len: usize,
    },
    /// A character outside the alphabet.
    #[error("{kind} holds a character outside its alphabet")]
    Alphabet {
        /// What was being parsed.
        kind: &'static str,
    },
}

/// Tells whether `c` may stand in a device, module or message id (registry.md §2.1).
pub fn is_id_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-:.+%_#*?!(),=@;$'".contains(c)
}

fn check(
    kind: &'static str,
    text: &str,
    max: usize,
    is_allowed: fn(char) -> bool,
) -> Result<(), IdError> {
    if text.is_empty() || text.len() > max {
        return Err(IdError::Length {
            kind,
            max,
            len: text.len(),
        });
    }
    if !text.chars().all(is_allowed) {
        return Err(IdError::Alphabet { kind });
    }
    Ok(())
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:expr, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The id as text, which is also its wire form.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                check($kind, text, $max, $allowed)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A device id: 1–128 characters of the id alphabet, case-sensitive (registry.md §2.1).
    DeviceId, "device id", caps::MAX_ID_CHARS, is_id_char
);
text_id!(
    /// A module id: same alphabet and length as a device id (auth.md §1).
    ModuleId, "module id", caps::MAX_ID_CHARS, is_id_char
);
text_id!(
    /// A message or correlation id: 1–128 characters of the id alphabet (c2d.md §3.1).
    MessageId, "message id", caps::MAX_MESSAGE_ID_CHARS, is_id_char
);
text_id!(
    /// A job: 1–64 lower-case letters, digits, hyphens and apostrophes (registry.md §6.1).
    JobId, "job id", caps::MAX_JOB_ID_CHARS, |c| c.is_ascii_lowercase()
        || c.is_ascii_digit()
        || c == '-'
        || c == '\''
);
text_id!(
    /// A gateway process, unique for one life of it.
    GatewayId, "gateway id", caps::MAX_ID_CHARS, is_id_char
);

/// The tenant, named by its host name; kept and compared in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HubName(Arc<str>);

impl HubName {
    /// The host name in lower case.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first dot, which SASL PLAIN user names and events carry (auth.md §4,
    /// errors-limits.md §6.1); an address has no parts and is returned whole.
    pub fn first_label(&self) -> &str {
        if self.0.parse::<IpAddr>().is_ok() {
            return &self.0;
        }
        self.0.split('.').next().unwrap_or(&self.0)
    }
}

impl FromStr for HubName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        check("hub name", text, caps::MAX_HUB_NAME_BYTES, |c| {
            c.is_ascii_alphanumeric() || "-._:[]".contains(c)
        })?;
        Ok(Self(text.to_ascii_lowercase().into()))
    }
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who connects: a device, or a module of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdentityName {
    /// The device.
    pub device: DeviceId,
    /// The module, `None` for the device itself.
    pub module: Option<ModuleId>,
}

impl From<DeviceId> for IdentityName {
    fn from(device: DeviceId) -> Self {
        Self {
            device,
            module: None,
        }
    }
}

/// `device` or `device/module`, the MQTT client id (mqtt.md §2.1).
impl fmt::Display for IdentityName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.module {
            None => write!(f, "{}", self.device),
            Some(module) => write!(f, "{}/{module}", self.device),
        }
    }
}

/// The internal key of an identity, given at registration and never used again: what is stored
/// for one life of a device cannot reach the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceKey(pub i64);

impl fmt::Display for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Tells one life of an identity from the next, a decimal text on the wire (registry.md §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GenerationId(pub u64);

impl fmt::Display for GenerationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Place in one device's queue; rises with every accepted message, gaps allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceNumber(pub u64);

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Proof of holding a message: random, unguessable, new with every lock.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LockToken(pub [u8; 16]);

impl fmt::Debug for LockToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LockToken(..)")
    }
}

/// Lower-case `8-4-4-4-12`; the 16 bytes are the .NET order, first three fields little-endian
/// (amqp.md §5.1).
impl fmt::Display for LockToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let b = &self.0;
        write!(f, "{:02x}{:02x}{:02x}{:02x}-", b[3], b[2], b[1], b[0])?;
        write!(f, "{:02x}{:02x}-{:02x}{:02x}-", b[5], b[4], b[7], b[6])?;
        write!(f, "{:02x}{:02x}-", b[8], b[9])?;
        b[10..].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for LockToken {
    type Err = IdError;

    /// Takes the form of `Display`, hexadecimal digits of either case.
    fn from_str(text: &str) -> Result<Self, IdError> {
        const KIND: &str = "lock token";
        const WIRE_ORDER: [usize; 16] = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];
        if text.len() != 36 {
            return Err(IdError::Length {
                kind: KIND,
                max: 36,
                len: text.len(),
            });
        }
        let mut nibbles = Vec::with_capacity(32);
        for (index, c) in text.chars().enumerate() {
            match (index, c.to_digit(16)) {
                (8 | 13 | 18 | 23, None) if c == '-' => {}
                (8 | 13 | 18 | 23, _) | (_, None) => return Err(IdError::Alphabet { kind: KIND }),
                (_, Some(nibble)) => nibbles.push(u8::try_from(nibble).unwrap_or(0)),
            }
        }
        let mut token = [0; 16];
        for (pair, at) in nibbles.chunks_exact(2).zip(WIRE_ORDER) {
            token[at] = pair[0] << 4 | pair[1];
        }
        Ok(Self(token))
    }
}

/// One connection of one gateway, unique across gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_id_holds_every_character_of_its_alphabet() {
        let every = "azAZ09-:.+%_#*?!(),=@;$'";
        assert_eq!(every.parse::<DeviceId>().unwrap().as_str(), every);
    }

    #[test]
    fn a_device_id_refuses_slash_ampersand_blank_and_other_scripts() {
        for text in ["a/b", "a&b", "a b", "é", "", "a\0"] {
            assert!(text.parse::<DeviceId>().is_err(), "{text:?}");
        }
        assert!("x".repeat(129).parse::<DeviceId>().is_err());
        assert!("x".repeat(128).parse::<DeviceId>().is_ok());
    }

    #[test]
    fn hub_names_compare_without_case() {
        let a: HubName = "Hub.Example.Net".parse().unwrap();
        assert_eq!(a, "hub.example.net".parse().unwrap());
        assert_eq!(a.first_label(), "hub");
    }

    #[test]
    fn an_address_is_a_hub_name_without_labels() {
        for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            let hub: HubName = address.parse().unwrap();
            assert_eq!(hub.first_label(), address);
        }
    }

    #[test]
    fn a_lock_token_prints_in_the_order_of_the_recorded_one() {
        let tag = [
            0xe4, 0x03, 0xe0, 0x1a, 0xfb, 0x61, 0xc1, 0x4b, 0x92, 0x10, 0x1e, 0x16, 0x35, 0x35,
            0x07, 0x96,
        ];
        assert_eq!(
            LockToken(tag).to_string(),
            "1ae003e4-61fb-4bc1-9210-1e1635350796"
        );
    }

    #[test]
    fn a_printed_lock_token_parses_back() {
        let text = "1ae003e4-61fb-4bc1-9210-1e1635350796";
        let token: LockToken = text.parse().unwrap();
        assert_eq!(token.0[..4], [0xe4, 0x03, 0xe0, 0x1a]);
        assert_eq!(token.to_string(), text);
        assert_eq!(text.to_uppercase().parse(), Ok(token));
        let bad = [
            "",
            "1ae003e461fb4bc192101e1635350796",
            "1ae003e4-61fb-4bc1-9210-1e163535079g",
            "1ae003e4a61fb-4bc1-9210-1e163535079",
            "-ae003e4-61fb-4bc1-9210-1e1635350796",
            "éae003e4-61fb-4bc1-9210-1e163535079",
        ];
        for text in bad {
            assert!(text.parse::<LockToken>().is_err(), "{text}");
        }
    }
}
