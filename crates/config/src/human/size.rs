//! Sizes such as `256KiB`.

use std::fmt;
use std::str::FromStr;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::parts;

const UNITS: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("B", 1),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
];

/// A number of bytes, written with a unit: `512B`, `64KiB`, `4MiB`, `1GiB`, or in thousands `64KB`, `4MB`, `1GB`.
///
/// A number without a unit counts bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(with = "String"))]
pub struct ByteSize {
    bytes: u64,
}

/// A text that is not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a size: write a number with a unit, such as 512B, 64KiB or 4MiB")]
pub struct NotASize;

impl ByteSize {
    /// Makes a size.
    pub const fn from_bytes(bytes: u64) -> Self {
        Self { bytes }
    }

    /// Makes a size of 1024 bytes each.
    pub const fn from_kib(kib: u64) -> Self {
        Self {
            bytes: kib.saturating_mul(1 << 10),
        }
    }

    /// Returns the size in bytes.
    pub const fn get(self) -> u64 {
        self.bytes
    }

    /// Returns the size in bytes, or as much as this machine can address.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.bytes).unwrap_or(usize::MAX)
    }
}

impl FromStr for ByteSize {
    type Err = NotASize;

    fn from_str(text: &str) -> Result<Self, NotASize> {
        let text = text.trim();
        if let Ok(bytes) = text.parse() {
            return Ok(Self { bytes });
        }
        let [(number, unit)] = parts(text).ok_or(NotASize)?[..] else {
            return Err(NotASize);
        };
        let (_, factor) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or(NotASize)?;
        let bytes = number.checked_mul(*factor).ok_or(NotASize)?;
        Ok(Self { bytes })
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits =
            |(_, factor): &&(&str, u64)| self.bytes != 0 && self.bytes.is_multiple_of(*factor);
        let (unit, factor) = UNITS[..4].iter().find(fits).unwrap_or(&("B", 1));
        write!(f, "{}{unit}", self.bytes / factor)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = ByteSize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as 64KiB")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ByteSize, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, bytes: u64) -> Result<ByteSize, E> {
        Ok(ByteSize { bytes })
    }

    fn visit_i64<E: Error>(self, bytes: i64) -> Result<ByteSize, E> {
        u64::try_from(bytes)
            .map(ByteSize::from_bytes)
            .map_err(|_| E::custom(NotASize))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::ByteSize;

    #[test]
    fn texts_read_as_people_mean_them() {
        for (text, bytes, canonical) in [
            ("64KiB", 65_536, "64KiB"),
            ("64 KiB", 65_536, "64KiB"),
            ("64KB", 64_000, "64000B"),
            ("4096", 4_096, "4KiB"),
            ("1048576B", 1 << 20, "1MiB"),
            ("3GiB", 3 << 30, "3GiB"),
            ("1000", 1_000, "1000B"),
            ("0", 0, "0B"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!(size.get(), bytes, "{text}");
            assert_eq!(size.to_string(), canonical);
        }
    }

    #[test]
    fn other_texts_are_no_sizes() {
        for text in [
            "",
            "KiB",
            "1.5MiB",
            "-1",
            "64kib",
            "1KiB1B",
            "1TB",
            "99999999999999GiB",
        ] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_reads_back(bytes in any::<u64>()) {
            let size = ByteSize::from_bytes(bytes);
            prop_assert_eq!(size.to_string().parse(), Ok(size));
        }
    }
}
