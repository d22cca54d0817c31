//! What a client can do wrong, listed by clause of the MQTT 3.1.1 standard or page of the contract.

use thiserror::Error;

use crate::packet::PacketKind;
use crate::property_bag::BagError;

/// A packet that cannot be read. The connection ends with it ([MQTT-4.8.0-1]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The announced length is over the limit in force; nothing was allocated for it.
    #[error("packet announces {announced_bytes} bytes, the limit is {max_bytes}")]
    PacketTooLarge {
        /// Length of the whole packet, fixed header included.
        announced_bytes: usize,
        /// The limit it was compared with.
        max_bytes: usize,
    },
    /// The remaining length takes more than four bytes (MQTT 3.1.1 2.2.3).
    #[error("remaining length is longer than four bytes (MQTT 3.1.1 2.2.3)")]
    RemainingLength,
    /// Packet types 0 and 15 are forbidden (MQTT 3.1.1 2.2.1).
    #[error("packet type {0} is forbidden (MQTT 3.1.1 2.2.1)")]
    ReservedPacketType(u8),
    /// A packet that only the other side may send (MQTT 3.1.1 2.2.1).
    #[error("{0:?} was sent by the wrong side (MQTT 3.1.1 2.2.1)")]
    WrongDirection(PacketKind),
    /// Reserved bits of the fixed header do not have their fixed value.
    #[error("reserved flags of {0:?} are not as fixed [MQTT-2.2.2-2]")]
    FixedHeaderFlags(PacketKind),
    /// The packet ends before its last field.
    #[error("{0:?} ends before its last field (MQTT 3.1.1 2.2.3)")]
    Truncated(PacketKind),
    /// The packet goes on after its last field.
    #[error("{0:?} goes on after its last field (MQTT 3.1.1 2.2.3)")]
    TrailingBytes(PacketKind),
    /// Text that is not well-formed UTF-8.
    #[error("text of {0:?} is not UTF-8 [MQTT-1.5.3-1]")]
    InvalidUtf8(PacketKind),
    /// Text that holds U+0000.
    #[error("text of {0:?} holds a null character [MQTT-1.5.3-2]")]
    NullCharacter(PacketKind),
    /// A packet identifier of zero.
    #[error("packet identifier of {0:?} is zero [MQTT-2.3.1-1]")]
    ZeroPacketId(PacketKind),
    /// Both bits of a quality of service are set.
    #[error("quality of service 3 does not exist [MQTT-3.3.1-4]")]
    QosThree,
    /// Quality of service 2 is not spoken here (mqtt.md §5).
    #[error("{0:?} belongs to quality of service 2, which is not supported (mqtt.md 5)")]
    QosTwo(PacketKind),
    /// The duplicate flag on a publish of quality of service 0.
    #[error("duplicate flag on quality of service 0 [MQTT-3.3.1-2]")]
    DuplicateAtMostOnce,
    /// A topic or filter without a character.
    #[error("topic or filter of {0:?} is empty [MQTT-4.7.3-1]")]
    EmptyTopic(PacketKind),
    /// The protocol name is none of MQTT's.
    #[error("protocol name is not MQTT [MQTT-3.1.2-1]")]
    ProtocolName,
    /// A protocol level other than 4; the answer depends on it (mqtt.md §3, §15).
    #[error("protocol level {0} is not supported [MQTT-3.1.2-2]")]
    ProtocolLevel(u8),
    /// The reserved bit of the connect flags is set.
    #[error("reserved connect flag is set [MQTT-3.1.2-3]")]
    ReservedConnectFlag,
    /// Will quality of service or will retain without a will.
    #[error("will flags without a will [MQTT-3.1.2-13] [MQTT-3.1.2-15]")]
    WillFlags,
    /// Will quality of service 3.
    #[error("will quality of service 3 does not exist [MQTT-3.1.2-14]")]
    WillQosThree,
    /// A password without a user name.
    #[error("password without a user name [MQTT-3.1.2-22]")]
    PasswordWithoutUsername,
    /// A SUBSCRIBE or UNSUBSCRIBE without a filter.
    #[error("{0:?} names no filter [MQTT-3.8.3-3] [MQTT-3.10.3-2]")]
    NoFilter(PacketKind),
    /// A SUBSCRIBE or UNSUBSCRIBE with more filters than [`crate::limits::MAX_FILTERS_PER_PACKET`].
    #[error("{0:?} names too many filters")]
    TooManyFilters(PacketKind),
    /// The requested quality of service has reserved bits set or is 3.
    #[error("requested quality of service is none [MQTT-3-8.3-4]")]
    RequestedQos,
    /// A return code that the standard does not list; met by clients only.
    #[error("return code {1} of {0:?} is not listed")]
    ReturnCode(PacketKind, u8),
}

/// Something the contract answers by closing the connection (mqtt.md §5).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Violation {
    /// A packet that cannot be read.
    #[error("packet cannot be read")]
    Decode(#[from] DecodeError),
    /// The first packet is not CONNECT.
    #[error("first packet is {0:?}, not Connect [MQTT-3.1.0-1]")]
    ConnectExpected(PacketKind),
    /// CONNECT came a second time.
    #[error("second Connect on one connection [MQTT-3.1.0-2]")]
    SecondConnect,
    /// A publish to a topic that is none of the device's own forms (mqtt.md §7).
    #[error("topic is none of the device's own (mqtt.md 7)")]
    ForeignTopic,
    /// A publish to a topic with a wildcard.
    #[error("topic holds a wildcard [MQTT-3.3.2-2]")]
    WildcardInTopic,
    /// A filter outside the list of mqtt.md §6.1.
    #[error("filter is none of those granted (mqtt.md 6.1)")]
    UnsupportedFilter,
    /// More distinct subscriptions than allowed, five by contract.
    #[error("too many active subscriptions (mqtt.md 6.2)")]
    TooManySubscriptions,
    /// A property bag that cannot be decoded.
    #[error("property bag cannot be decoded (mqtt.md 5)")]
    PropertyBag(#[from] BagError),
    /// Payload and properties together are over the limit, 256 KiB by contract.
    #[error("message of {bytes} bytes is too large (mqtt.md 9)")]
    MessageTooLarge {
        /// Payload plus names and values of the properties.
        bytes: usize,
    },
}

/// A packet whose fields do not fit MQTT's length prefixes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// A text or binary field over 65,535 bytes.
    #[error("field of {0} bytes does not fit a two-byte length")]
    FieldTooLong(usize),
    /// A packet over 268,435,455 bytes after its fixed header.
    #[error("packet of {0} bytes does not fit the remaining length")]
    PacketTooLong(usize),
}
