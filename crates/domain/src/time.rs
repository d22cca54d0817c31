//! Instants of the business clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use ::time::OffsetDateTime;
use ::time::format_description::well_known::Rfc3339;

/// Milliseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The instant that stands for "never" on the wire: `0001-01-01T00:00:00Z`
    /// (registry.md §2.1).
    pub const UNSET: Self = Self(-62_135_596_800_000);
    /// The last instant that can be written: the end of year 9999.
    pub const MAX: Self = Self(253_402_300_799_999);

    /// Makes an instant from milliseconds since the Unix epoch, clamped to years 1–9999.
    pub fn from_millis(millis: i64) -> Self {
        Self(millis.clamp(Self::UNSET.0, Self::MAX.0))
    }

    /// Milliseconds since the Unix epoch.
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// The time from `earlier` to `self`, zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Parses an ISO 8601 instant with an offset or `Z`.
    pub fn parse_iso(text: &str) -> Option<Self> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).ok()?;
        let millis = parsed.unix_timestamp_nanos().div_euclid(1_000_000);
        i64::try_from(millis).ok().map(Self::from_millis)
    }
}

impl Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, rhs: Duration) -> Self {
        let millis = i64::try_from(rhs.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.0.saturating_add(millis))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;

    fn sub(self, rhs: Duration) -> Self {
        let millis = i64::try_from(rhs.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.0.saturating_sub(millis))
    }
}

/// The round-trip form of the contract: UTC with exactly seven fraction digits and `Z`
/// (mqtt.md §8.1 rule 6), except [`Timestamp::UNSET`], which has none (registry.md §2.1).
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::UNSET {
            return f.write_str("0001-01-01T00:00:00Z");
        }
        let nanos = i128::from(self.0) * 1_000_000;
        let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).map_err(|_| fmt::Error)?;
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}0000Z",
            at.year(),
            u8::from(at.month()),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.millisecond(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_print_with_seven_fraction_digits() {
        let at = Timestamp::from_millis(1_767_604_351_412);
        assert_eq!(at.to_string(), "2026-01-05T09:12:31.4120000Z");
    }

    #[test]
    fn printed_instants_parse_back() {
        let at = Timestamp::from_millis(1_767_604_351_412);
        assert_eq!(Timestamp::parse_iso(&at.to_string()), Some(at));
        assert_eq!(
            Timestamp::parse_iso("2026-01-05T10:12:31.412+01:00"),
            Some(at)
        );
    }

    #[test]
    fn an_unset_instant_has_no_fraction() {
        assert_eq!(Timestamp::UNSET.to_string(), "0001-01-01T00:00:00Z");
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::MAX + Duration::MAX, Timestamp::MAX);
        assert_eq!(Timestamp::UNSET - Duration::MAX, Timestamp::UNSET);
    }
}
