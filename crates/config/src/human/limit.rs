//! Rates such as `100/min`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::MAX_TEXT_BYTES;

/// Most operations in a unit of time, and at once.
const MAX_COUNT: u32 = 1_000_000_000;

/// A rate, or none: `50/s`, `100/min`, `10/h`, `50/s burst 200`, `unlimited`; `preset` for what another setting says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(with = "String"))]
pub enum HumanLimit {
    /// What another setting says.
    Preset,
    /// None.
    Unlimited,
    /// So many operations.
    Rate {
        /// In the unit of time.
        count: u32,
        /// The unit of time in seconds: 1, 60 or 3600.
        per_seconds: u32,
        /// At once, if that is said.
        burst: Option<u32>,
    },
}

/// A text that is not a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a limit: write \"50/s\", \"100/min\", \"10/h\", \"50/s burst 200\", \"unlimited\" or \"preset\""
)]
pub struct NotALimit;

impl FromStr for HumanLimit {
    type Err = NotALimit;

    fn from_str(text: &str) -> Result<Self, NotALimit> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(NotALimit);
        }
        match text.trim() {
            "preset" => Ok(Self::Preset),
            "unlimited" => Ok(Self::Unlimited),
            text => rate(text),
        }
    }
}

fn rate(text: &str) -> Result<HumanLimit, NotALimit> {
    let (rate, burst) = match text.split_once("burst") {
        Some((rate, burst)) => (rate, Some(count(burst)?)),
        None => (text, None),
    };
    let (number, unit) = rate.split_once('/').ok_or(NotALimit)?;
    let per_seconds = match unit.trim() {
        "s" => 1,
        "min" | "m" => 60,
        "h" => 3_600,
        _ => return Err(NotALimit),
    };
    Ok(HumanLimit::Rate {
        count: count(number)?,
        per_seconds,
        burst,
    })
}

fn count(text: &str) -> Result<u32, NotALimit> {
    let text = text.trim();
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let count = is_number.then(|| text.parse().ok()).flatten();
    let count = count.filter(|count| (1..=MAX_COUNT).contains(count));
    count.ok_or(NotALimit)
}

impl fmt::Display for HumanLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Preset => f.write_str("preset"),
            Self::Unlimited => f.write_str("unlimited"),
            Self::Rate {
                count,
                per_seconds,
                burst,
            } => {
                let unit = match per_seconds {
                    1 => "s",
                    60 => "min",
                    _ => "h",
                };
                write!(f, "{count}/{unit}")?;
                burst.map_or(Ok(()), |burst| write!(f, " burst {burst}"))
            }
        }
    }
}

impl Serialize for HumanLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HumanLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_read_as_people_mean_them() {
        for (text, canonical) in [
            ("100/min", "100/min"),
            (" 50 / s ", "50/s"),
            ("10/h burst 3", "10/h burst 3"),
            ("7/m", "7/min"),
            ("unlimited", "unlimited"),
            ("preset", "preset"),
        ] {
            let limit: HumanLimit = text.parse().unwrap();
            assert_eq!(limit.to_string(), canonical);
            assert_eq!(canonical.parse(), Ok(limit));
        }
    }

    #[test]
    fn other_texts_are_no_limits() {
        let long = format!("1/s{}", " ".repeat(100));
        for text in [
            "",
            "100",
            "0/s",
            "1/day",
            "-1/s",
            "+1/s",
            "1/s burst",
            "1/s burst 0",
            "1000000001/s",
            &long,
        ] {
            assert_eq!(text.parse::<HumanLimit>(), Err(NotALimit), "{text}");
        }
    }
}
