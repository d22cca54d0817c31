//! Packet identifiers.

use std::fmt;
use std::num::NonZeroU16;

/// A packet identifier, 1 to 65,535 ([MQTT-2.3.1-1]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketId(NonZeroU16);

impl PacketId {
    /// The smallest identifier.
    pub const FIRST: Self = Self(NonZeroU16::MIN);

    /// Returns the identifier with this value, or nothing for zero.
    pub fn new(value: u16) -> Option<Self> {
        NonZeroU16::new(value).map(Self)
    }

    /// Returns the identifier a message with this sequence number prefers.
    ///
    /// The same number always prefers the same identifier, so a redelivery keeps its own (mqtt.md §8.2).
    pub fn preferred_for(sequence: u64) -> Self {
        let folded = sequence.checked_rem(u64::from(u16::MAX)).unwrap_or(0);
        // The remainder is at most 65,534, so one more is at most 65,535 and never zero.
        let value = u16::try_from(folded).unwrap_or(0).saturating_add(1);
        Self(NonZeroU16::new(value).unwrap_or(NonZeroU16::MIN))
    }

    /// Returns the identifier that follows, wrapping past zero.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).unwrap_or(NonZeroU16::MIN))
    }

    /// Returns the identifier as it stands on the wire.
    pub fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for PacketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preferred_identifiers_cover_the_whole_range_and_never_zero() {
        assert_eq!(PacketId::preferred_for(0).get(), 1);
        assert_eq!(PacketId::preferred_for(65_534).get(), 65_535);
        assert_eq!(PacketId::preferred_for(65_535).get(), 1);
        assert_eq!(PacketId::preferred_for(u64::MAX).get(), 1);
    }

    #[test]
    fn the_identifier_after_the_last_is_the_first() {
        let last = PacketId::new(u16::MAX).unwrap();
        assert_eq!(last.next(), PacketId::FIRST);
    }
}
