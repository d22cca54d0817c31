//! What a device settles a message by: the value of `ETag`, which stands in the path of the settlement
//! (http-device.md §3.2).
//!
//! It holds the lock token and the place of the message in its queue, so that settling needs no search:
//! `{token}-{sequence}`, in letters, digits and hyphens alone, since SDKs put it into a path unencoded.

use std::fmt;

/// Longest text of a reference, in bytes: a GUID, a hyphen, the largest number.
const MAX_BYTES: usize = 36 + 1 + 20;

/// A lock token and the sequence number of the message it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockReference<T> {
    /// The lock token, in the hub's form of one.
    pub token: T,
    /// Place of the message in its queue.
    pub sequence: u64,
}

/// The value without the quotes of an `ETag`.
impl<T: fmt::Display> fmt::Display for LockReference<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.token, self.sequence)
    }
}

impl<'a> LockReference<&'a str> {
    /// Reads a reference, in the quotes of its `ETag` or without. `None` when this hub has never given it, as far as
    /// its form tells; the form of the token is the hub's matter.
    pub fn parse(text: &'a str) -> Option<Self> {
        let quoted = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'));
        let text = quoted.unwrap_or(text);
        let (token, sequence) = text.rsplit_once('-')?;
        let is_in_form = text.len() <= MAX_BYTES
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !token.is_empty()
            && sequence.bytes().all(|byte| byte.is_ascii_digit())
            && (sequence == "0" || !sequence.starts_with('0'));
        let sequence = is_in_form.then(|| sequence.parse().ok()).flatten()?;
        Some(Self { token, sequence })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "1ae003e4-61fb-4bc1-9210-1e1635350796";

    #[test]
    fn a_reference_is_read_with_its_quotes_and_without() {
        let expected = LockReference {
            token: TOKEN,
            sequence: 42,
        };
        let text = expected.to_string();
        assert_eq!(text, "1ae003e4-61fb-4bc1-9210-1e1635350796-42");
        assert_eq!(LockReference::parse(&text), Some(expected));
        assert_eq!(LockReference::parse(&format!("\"{text}\"")), Some(expected));
    }

    #[test]
    fn what_was_never_given_is_none() {
        for text in [
            "",
            "-",
            "-1",
            "42",
            "a-",
            "a-b",
            "a-01",
            "a-+1",
            "a-18446744073709551616",
            "a b-1",
            "\"a-1",
            "a-1\"",
            "é-1",
            "a-\u{663}",
        ] {
            assert_eq!(LockReference::parse(text), None, "{text}");
        }
        let long = format!("{}-1", "a".repeat(60));
        assert_eq!(LockReference::parse(&long), None);
    }

    proptest! {
        #[test]
        fn every_reference_reads_back_and_needs_no_encoding(sequence: u64) {
            let given = LockReference { token: TOKEN, sequence };
            let text = given.to_string();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'));
            prop_assert_eq!(LockReference::parse(&text), Some(given));
        }

        #[test]
        fn no_text_breaks_the_reader_and_what_it_takes_is_what_it_gives(text in "[0-9a-f\"\\-é]{0,70}") {
            if let Some(reference) = LockReference::parse(&text) {
                prop_assert_eq!(reference.to_string(), text.trim_matches('"'));
            }
        }
    }
}
