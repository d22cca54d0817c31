use bytes::Bytes;

use crate::types::{Decode, DecodeError, Encode, Fields, ListWriter, Reader, decode_descriptor};

/// What kind of node stands at the end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TerminusKind {
    /// Where messages come from.
    Source,
    /// Where messages go to.
    Target,
    /// A transaction coordinator, which this server is not.
    Coordinator,
}

/// One end of a link (AMQP 1.0 3.5.3 and 3.5.4).
///
/// The encoding is kept as it came, because an attach is answered with the client's own terminus
/// (amqp.md §4.4), filters and capabilities included.
#[derive(Clone, Debug, PartialEq)]
pub struct Terminus {
    kind: TerminusKind,
    address: Option<String>,
    is_dynamic: bool,
    encoded: Bytes,
}

impl Terminus {
    /// Returns a source with an address.
    pub fn source(address: &str) -> Self {
        Self::with_address(TerminusKind::Source, 0x28, address)
    }

    /// Returns a target with an address.
    pub fn target(address: &str) -> Self {
        Self::with_address(TerminusKind::Target, 0x29, address)
    }

    fn with_address(kind: TerminusKind, descriptor: u8, address: &str) -> Self {
        let mut encoded = Vec::new();
        ListWriter::new(&mut encoded, descriptor)
            .put(address)
            .finish();
        let address = Some(address.to_owned());
        Self {
            kind,
            address,
            is_dynamic: false,
            encoded: encoded.into(),
        }
    }

    /// Reads a terminus and keeps a copy of its encoding.
    ///
    /// # Errors
    /// [`DecodeError`] when it is neither source nor target nor coordinator.
    pub(super) fn from_encoded(encoded: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(encoded);
        let code = reader.byte()?;
        if code != 0 {
            return Err(DecodeError::UnexpectedCode {
                code,
                expected: "terminus",
            });
        }
        let kind = match decode_descriptor(&mut reader)? {
            0x28 => TerminusKind::Source,
            0x29 => TerminusKind::Target,
            0x30 => TerminusKind::Coordinator,
            other => return Err(DecodeError::UnexpectedDescriptor(other)),
        };
        let mut fields = Fields::open(&mut reader)?;
        let mut terminus = Self {
            kind,
            address: None,
            is_dynamic: false,
            encoded: Bytes::copy_from_slice(encoded),
        };
        if kind != TerminusKind::Coordinator {
            // An address may be of any type; all SDKs send strings, anything else names nothing.
            terminus.address = fields
                .encoded()?
                .and_then(|value| String::decode(&mut Reader::new(value)).ok());
            fields.skip()?; // durable
            fields.skip()?; // expiry-policy
            fields.skip()?; // timeout
            terminus.is_dynamic = fields.or_default()?;
        }
        Ok(terminus)
    }

    /// Returns what kind of end this is.
    pub fn kind(&self) -> TerminusKind {
        self.kind
    }

    /// Returns the address, `None` when it is null or no text.
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Whether the client asks the server to make the node.
    pub fn is_dynamic(&self) -> bool {
        self.is_dynamic
    }

    /// Returns the encoding as it came.
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }
}

impl Encode for Terminus {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.encoded);
    }
}
