//! Several messages in one body (http-device.md §2.2).

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::Malformed;
use crate::property::{self, Properties};

/// Content type of a batch.
pub const CONTENT_TYPE: &str = "application/vnd.microsoft.iothub.json";

/// The contract's base64; padding may be left out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One message of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its properties in their order.
    pub properties: Properties,
    /// Its payload.
    pub body: Bytes,
}

/// What a batch may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Messages.
    pub max_messages: usize,
    /// Bytes of one message: payload, values of system properties, names and values of application properties.
    pub max_message_bytes: usize,
}

/// Tells whether a body of this content type is a batch. Parameters and case do not count.
pub fn is_batch(content_type: &[u8]) -> bool {
    let bare = content_type
        .split(|byte| *byte == b';')
        .next()
        .unwrap_or_default();
    bare.trim_ascii()
        .eq_ignore_ascii_case(CONTENT_TYPE.as_bytes())
}

/// Reads the body of a batch that was sent to `path` (decoded, without its query): all of it, or nothing.
///
/// It takes a few times the memory that `body` has, and no more messages than `bounds` allow.
///
/// # Errors
/// [`Malformed`] for the first message that cannot be taken.
pub fn read(body: &[u8], path: &str, bounds: Bounds) -> Result<Vec<Message>, Malformed> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let mut is_full = false;
    let elements = json
        .deserialize_seq(Elements {
            most: bounds.max_messages,
            is_full: &mut is_full,
        })
        .and_then(|elements| json.end().map(|()| elements));
    if is_full {
        return Err(Malformed::TooMany(bounds.max_messages));
    }
    let elements = elements.map_err(|error| Malformed::Batch(error.to_string()))?;
    if elements.is_empty() {
        return Err(Malformed::Empty);
    }
    let messages = elements.into_iter().enumerate();
    messages
        .map(|(place, element)| element.into_message(place, path, bounds.max_message_bytes))
        .collect()
}

/// The elements of the array, as far as they may be.
struct Elements<'flag> {
    most: usize,
    is_full: &'flag mut bool,
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = Vec<Element<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of messages")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            if elements.len() == self.most {
                *self.is_full = true;
                return Err(A::Error::custom("too many messages"));
            }
            elements.push(element);
        }
        Ok(elements)
    }
}

/// A message as JSON; members that the contract does not know are passed over.
#[derive(Deserialize)]
struct Element<'a> {
    #[serde(borrow)]
    body: Cow<'a, str>,
    /// Node and C# leave it out and send base64.
    #[serde(default, rename = "base64Encoded")]
    is_base64: Option<bool>,
    #[serde(borrow, default)]
    properties: Option<Members<'a>>,
}

/// Names and values in their order.
struct Members<'a>(Vec<(Text<'a>, Text<'a>)>);

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;

        impl<'de> Visitor<'de> for Map {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Map)
    }
}

impl Element<'_> {
    fn into_message(
        self,
        place: usize,
        path: &str,
        max_bytes: usize,
    ) -> Result<Message, Malformed> {
        let mut properties = Properties::new();
        for (Text(key), Text(value)) in self.properties.map(|members| members.0).unwrap_or_default()
        {
            if let Some(name) = property::name_of(&key)? {
                property::add(&mut properties, name, &value, path)?;
            }
        }
        let body = if self.is_base64.unwrap_or(true) {
            let decoded = BASE64.decode(self.body.as_bytes());
            decoded.map_err(|_| Malformed::Base64(place))?
        } else {
            self.body.into_owned().into_bytes()
        };
        if property::counted_bytes(&properties, &body) > max_bytes {
            return Err(Malformed::TooLarge(max_bytes));
        }
        Ok(Message {
            properties,
            body: body.into(),
        })
    }
}

#[cfg(test)]
mod tests;
