use bytes::Bytes;

use super::{Body, Message, Properties};
use crate::types::{Encode, binary_head, encode_map};

/// Room for the sections before the body in most messages, in bytes.
const USUAL_HEAD_BYTES: usize = 256;

/// An encoded message in two parts, so that a payload goes out without a copy before it is
/// written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Encoded {
    head: Bytes,
    body: Bytes,
}

impl Encoded {
    /// Returns the length of both parts, in bytes.
    pub fn len(&self) -> usize {
        self.head.len().saturating_add(self.body.len())
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns both parts in one piece, copied.
    pub fn to_bytes(&self) -> Bytes {
        [self.head.as_ref(), self.body.as_ref()].concat().into()
    }

    /// Moves the next `count` bytes, or all that are left, to the end of `out`.
    pub(crate) fn move_to(&mut self, out: &mut Vec<u8>, count: usize) {
        let of_head = count.min(self.head.len());
        out.extend_from_slice(&self.head.split_to(of_head));
        let of_body = count.saturating_sub(of_head).min(self.body.len());
        out.extend_from_slice(&self.body.split_to(of_body));
    }
}

/// A message that is encoded in one piece.
impl From<Bytes> for Encoded {
    fn from(head: Bytes) -> Self {
        let body = Bytes::new();
        Self { head, body }
    }
}

impl Message {
    /// Returns the encoding of the message. Sections without content are left away.
    pub fn encode(&self) -> Bytes {
        let body_length = match &self.body {
            Body::Empty => 0,
            Body::Data(bytes) | Body::Value(bytes) => bytes.len(),
            Body::Batch(parts) | Body::Sequence(parts) => parts.iter().map(Bytes::len).sum(),
        };
        let mut out = Vec::with_capacity(body_length.saturating_add(USUAL_HEAD_BYTES));
        self.encode_head(&mut out);
        self.body.encode(&mut out);
        out.into()
    }

    /// Returns the same encoding with the bytes of a Data section left where they are.
    pub fn into_encoded(self) -> Encoded {
        let mut head = Vec::with_capacity(USUAL_HEAD_BYTES);
        self.encode_head(&mut head);
        let body = match self.body {
            Body::Data(data) => {
                section(&mut head, 0x75);
                binary_head(&mut head, data.len());
                data
            }
            other => {
                other.encode(&mut head);
                Bytes::new()
            }
        };
        Encoded {
            head: head.into(),
            body,
        }
    }

    fn encode_head(&self, out: &mut Vec<u8>) {
        if let Some(header) = &self.header {
            header.encode(out);
        }
        if !self.annotations.is_empty() {
            section(out, 0x72);
            self.annotations.as_slice().encode(out);
        }
        if self.properties != Properties::default() {
            self.properties.encode(out);
        }
        if !self.application_properties.is_empty() {
            section(out, 0x74);
            encode_map(
                out,
                self.application_properties
                    .iter()
                    .map(|(name, value)| (name, value)),
            );
        }
    }
}

impl Body {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Empty => {}
            Self::Data(data) => data_section(out, data),
            Self::Batch(parts) => parts.iter().for_each(|data| data_section(out, data)),
            Self::Value(encoded) => {
                section(out, 0x77);
                out.extend_from_slice(encoded);
            }
            Self::Sequence(parts) => {
                for encoded in parts {
                    section(out, 0x76);
                    out.extend_from_slice(encoded);
                }
            }
        }
    }
}

fn data_section(out: &mut Vec<u8>, data: &Bytes) {
    section(out, 0x75);
    data.encode(out);
}

/// Writes the descriptor of a section.
fn section(out: &mut Vec<u8>, descriptor: u8) {
    out.extend([0x00, 0x53, descriptor]);
}
