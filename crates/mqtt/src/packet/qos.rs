//! Quality of service.

/// A quality of service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    /// 0: sent once, never acknowledged.
    AtMostOnce,
    /// 1: sent until acknowledged.
    AtLeastOnce,
    /// 2: may be asked for in SUBSCRIBE, is never granted and never published (mqtt.md §5, §6.2).
    ExactlyOnce,
}

impl Qos {
    /// Returns the level with this number, or nothing above 2.
    pub fn from_level(level: u8) -> Option<Self> {
        match level {
            0 => Some(Self::AtMostOnce),
            1 => Some(Self::AtLeastOnce),
            2 => Some(Self::ExactlyOnce),
            _ => None,
        }
    }

    /// Returns the level's number.
    pub fn level(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }

    /// Returns what a subscription that asks for this level is granted: at most 1 (mqtt.md §6.2).
    #[must_use]
    pub fn granted(self) -> Self {
        self.min(Self::AtLeastOnce)
    }
}
