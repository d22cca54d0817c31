//! Durations such as `30s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::parts;

const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A duration in whole milliseconds, written as numbers with units: `250ms`, `30s`, `10m`, `1h30m`, `7d`.
///
/// `min` is accepted for `m`. A number without a unit is not a duration, except `0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(with = "String"))]
pub struct HumanDuration {
    millis: u64,
}

/// A text that is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a duration: write numbers with units, such as 250ms, 30s, 10m, 1h30m or 7d")]
pub struct NotADuration;

impl HumanDuration {
    /// Makes a duration of whole milliseconds.
    pub const fn from_millis(millis: u64) -> Self {
        Self { millis }
    }

    /// Makes a duration of whole seconds; at most half a billion years.
    pub const fn from_secs(seconds: u64) -> Self {
        Self {
            millis: seconds.saturating_mul(1_000),
        }
    }

    /// Returns the duration for use.
    pub const fn get(self) -> Duration {
        Duration::from_millis(self.millis)
    }
}

impl From<HumanDuration> for Duration {
    fn from(duration: HumanDuration) -> Self {
        duration.get()
    }
}

impl FromStr for HumanDuration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, NotADuration> {
        let text = text.trim();
        if text == "0" {
            return Ok(Self::default());
        }
        let mut millis = 0_u64;
        for (number, unit) in parts(text).ok_or(NotADuration)? {
            let unit = if unit == "min" { "m" } else { unit };
            let (_, factor) = UNITS
                .iter()
                .find(|(name, _)| *name == unit)
                .ok_or(NotADuration)?;
            millis = number
                .checked_mul(*factor)
                .and_then(|part| millis.checked_add(part))
                .ok_or(NotADuration)?;
        }
        Ok(Self { millis })
    }
}

impl fmt::Display for HumanDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.millis == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.millis;
        for (unit, factor) in UNITS {
            if rest >= factor {
                write!(f, "{}{unit}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

impl Serialize for HumanDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::HumanDuration;

    #[test]
    fn texts_read_as_people_mean_them() {
        for (text, millis, canonical) in [
            ("30s", 30_000, "30s"),
            ("250ms", 250, "250ms"),
            ("90s", 90_000, "1m30s"),
            ("10min", 600_000, "10m"),
            ("1h 30m", 5_400_000, "1h30m"),
            ("2 d", 172_800_000, "2d"),
            ("1767s", 1_767_000, "29m27s"),
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
        ] {
            let duration: HumanDuration = text.parse().unwrap();
            assert_eq!(duration.get(), Duration::from_millis(millis), "{text}");
            assert_eq!(duration.to_string(), canonical);
        }
    }

    #[test]
    fn other_texts_are_no_durations() {
        let long = "1s".repeat(100);
        for text in [
            "",
            "30",
            "s",
            "1.5h",
            "-1s",
            "1 fortnight",
            "1S",
            "99999999999999999999s",
            "9999999999999d",
            &long,
        ] {
            assert!(text.parse::<HumanDuration>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(millis in any::<u64>()) {
            let duration = HumanDuration::from_millis(millis);
            prop_assert_eq!(duration.to_string().parse(), Ok(duration));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC*", units in "[0-9dhms ]{0,40}") {
            let (_, _) = (text.parse::<HumanDuration>().is_ok(), units.parse::<HumanDuration>().is_ok());
        }
    }
}
