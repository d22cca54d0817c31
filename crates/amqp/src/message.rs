//! Messages (AMQP 1.0 part 3.2): sections in and out.

mod decode;
mod encode;
mod id;
mod properties;

use bytes::Bytes;

pub use encode::Encoded;
pub use id::MessageId;
pub use properties::{Header, Properties};

use crate::types::{Symbol, Value};

/// Message format of a plain AMQP message.
pub const FORMAT_PLAIN: u32 = 0;

/// Message format of a batch: each Data section holds one encoded message (amqp.md §4.6).
pub const FORMAT_BATCH: u32 = 0x8001_3700;

/// A message by its sections. Delivery annotations and the footer are read over: no SDK uses them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Message {
    /// Durability, priority and the sender's idea of the delivery count.
    pub header: Option<Header>,
    /// Annotations of the hub or of SDKs, by symbol.
    pub annotations: Vec<(Symbol, Value)>,
    /// The standard properties.
    pub properties: Properties,
    /// The application's own properties, in order.
    pub application_properties: Vec<(String, Value)>,
    /// What the message carries.
    pub body: Body,
}

/// Body of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// No body section.
    #[default]
    Empty,
    /// One Data section: the only form that goes to clients (amqp.md §0, 14).
    Data(Bytes),
    /// Several Data sections, as a batch has them.
    Batch(Vec<Bytes>),
    /// One AMQP value, still encoded: decode it with [`Value`] when it matters.
    Value(Bytes),
    /// AMQP sequences, still encoded.
    Sequence(Vec<Bytes>),
}

impl Message {
    /// Returns the value of an application property, the first of that name.
    pub fn application_property(&self, name: &str) -> Option<&Value> {
        self.application_properties
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    }

    /// Returns the value of a message annotation.
    pub fn annotation(&self, name: &str) -> Option<&Value> {
        self.annotations
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests;
