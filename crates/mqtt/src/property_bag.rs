//! The property bag at the end of message topics (mqtt.md §7.1).

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use thiserror::Error;

/// What stays raw: the unreserved characters of RFC 3986 and nothing else (mqtt.md §8.1 rule 5).
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A bag that cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BagError {
    /// `%` is not followed by two hexadecimal digits.
    #[error("percent sign without two hexadecimal digits")]
    PercentEncoding,
    /// The decoded bytes are not UTF-8.
    #[error("decoded text is not UTF-8")]
    InvalidUtf8,
}

/// Properties in the order they were written; system properties keep their `$.`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PropertyBag {
    pairs: Vec<(Box<str>, Option<Box<str>>)>,
}

impl PropertyBag {
    /// Decodes `key=value` pairs joined by `&`, once.
    ///
    /// A bare key has no value; `key=` has an empty one. `+` is a plus sign. Empty pairs are passed over.
    ///
    /// # Errors
    /// [`BagError`] when a key or value cannot be decoded; over MQTT that ends the connection (mqtt.md §5).
    pub fn parse(text: &str) -> Result<Self, BagError> {
        let mut pairs = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            pairs.push(match pair.split_once('=') {
                Some((key, value)) => (decode(key)?.into(), Some(decode(value)?.into())),
                None => (decode(pair)?.into(), None),
            });
        }
        Ok(Self { pairs })
    }

    /// Returns the first value under `key`; a bare key reads as empty.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter()
            .find(|(name, _)| *name == key)
            .map(|(_, value)| value.unwrap_or(""))
    }

    /// Returns all pairs in their order; a bare key has no value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.pairs
            .iter()
            .map(|(key, value)| (&**key, value.as_deref()))
    }

    /// Returns whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Returns the bytes of all names and values, decoded.
    pub fn content_bytes(&self) -> usize {
        self.iter().fold(0, |sum, (key, value)| {
            sum.saturating_add(key.len())
                .saturating_add(value.map_or(0, str::len))
        })
    }

    /// Puts one value under `key` in place of all that were there.
    pub fn set(&mut self, key: &str, value: &str) {
        self.pairs.retain(|(name, _)| **name != *key);
        self.pairs.push((key.into(), Some(value.into())));
    }

    /// Writes the bag as topics carry it: `&` between pairs, everything but unreserved characters encoded.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        for (key, value) in self.iter() {
            push_pair(&mut text, key, value);
        }
        text
    }
}

impl<K: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(K, Option<V>)> for PropertyBag {
    fn from_iter<I: IntoIterator<Item = (K, Option<V>)>>(pairs: I) -> Self {
        let pairs = pairs
            .into_iter()
            .map(|(key, value)| (key.into(), value.map(Into::into)));
        Self {
            pairs: pairs.collect(),
        }
    }
}

/// Appends one pair, with the separator it needs when `text` is not empty.
fn push_pair(text: &mut String, key: &str, value: Option<&str>) {
    if !text.is_empty() {
        text.push('&');
    }
    push_encoded(text, key);
    if let Some(value) = value {
        text.push('=');
        push_encoded(text, value);
    }
}

/// Appends `raw`, percent-encoded but for unreserved characters.
pub(crate) fn push_encoded(text: &mut String, raw: &str) {
    text.extend(utf8_percent_encode(raw, ENCODED));
}

/// Decodes percent-encoded text strictly.
fn decode(text: &str) -> Result<Cow<'_, str>, BagError> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        let digits = after
            .as_bytes()
            .first_chunk::<2>()
            .ok_or(BagError::PercentEncoding)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(BagError::PercentEncoding);
        }
        rest = after.get(2..).unwrap_or("");
    }
    percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| BagError::InvalidUtf8)
}

#[cfg(test)]
mod tests;
