use bytes::Bytes;

use super::{Body, Message, Properties};
use crate::types::{Encode, encode_map};

/// Room for the sections before the body in most messages, in bytes.
const USUAL_HEAD_BYTES: usize = 256;

impl Message {
    /// Returns the encoding of the message. Sections without content are left away.
    pub fn encode(&self) -> Bytes {
        let body_length = match &self.body {
            Body::Empty => 0,
            Body::Data(bytes) | Body::Value(bytes) => bytes.len(),
            Body::Batch(parts) | Body::Sequence(parts) => parts.iter().map(Bytes::len).sum(),
        };
        let mut out = Vec::with_capacity(body_length.saturating_add(USUAL_HEAD_BYTES));
        if let Some(header) = &self.header {
            header.encode(&mut out);
        }
        if !self.annotations.is_empty() {
            section(&mut out, 0x72);
            self.annotations.as_slice().encode(&mut out);
        }
        if self.properties != Properties::default() {
            self.properties.encode(&mut out);
        }
        if !self.application_properties.is_empty() {
            section(&mut out, 0x74);
            encode_map(
                &mut out,
                self.application_properties
                    .iter()
                    .map(|(name, value)| (name, value)),
            );
        }
        self.body.encode(&mut out);
        out.into()
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
