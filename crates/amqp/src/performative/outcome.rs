use bytes::Bytes;

use super::AmqpError;
use crate::types::{Decode, DecodeError, Encode, Fields, ListWriter, Reader, decode_descriptor};

/// State of a delivery (AMQP 1.0 part 3.4).
#[derive(Clone, Debug, PartialEq)]
pub enum DeliveryState {
    /// Part of the message has arrived; no outcome yet.
    Received {
        /// Section the receiver has got to.
        section_number: u32,
        /// Byte within the section.
        section_offset: u64,
    },
    /// The message was taken.
    Accepted,
    /// The message is invalid and must not come again.
    Rejected(Option<AmqpError>),
    /// The message was not and will not be worked on here.
    Released,
    /// The message was not taken; its fate follows the flags.
    Modified {
        /// Whether the try counts as failed.
        delivery_failed: bool,
        /// Whether it must not come to this link again.
        undeliverable_here: bool,
        /// Annotations to merge, still encoded.
        annotations: Option<Bytes>,
    },
    /// A state of a part of the standard that is not spoken here, such as transactions.
    Other(u64),
}

impl DeliveryState {
    /// Whether the state ends the delivery.
    pub fn is_outcome(&self) -> bool {
        match self {
            Self::Accepted | Self::Rejected(_) | Self::Released | Self::Modified { .. } => true,
            Self::Received { .. } | Self::Other(_) => false,
        }
    }

    /// Returns a rejection with its reason, which Java cannot do without (amqp.md §8.2).
    pub fn rejected(error: AmqpError) -> Self {
        Self::Rejected(Some(error))
    }
}

impl Decode for DeliveryState {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if code != 0 {
            return Err(DecodeError::UnexpectedCode {
                code,
                expected: "delivery state",
            });
        }
        let descriptor = decode_descriptor(reader)?;
        if !(0x23..=0x27).contains(&descriptor) {
            reader.skip()?;
            return Ok(Self::Other(descriptor));
        }
        let mut fields = Fields::open(reader)?;
        Ok(match descriptor {
            0x23 => Self::Received {
                section_number: fields.required("section-number")?,
                section_offset: fields.required("section-offset")?,
            },
            0x24 => Self::Accepted,
            0x25 => Self::Rejected(fields.optional()?),
            0x26 => Self::Released,
            _ => Self::Modified {
                delivery_failed: fields.or_default()?,
                undeliverable_here: fields.or_default()?,
                annotations: fields.encoded()?.map(Bytes::copy_from_slice),
            },
        })
    }
}

impl Encode for DeliveryState {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Received {
                section_number,
                section_offset,
            } => {
                ListWriter::new(out, 0x23)
                    .put(section_number)
                    .put(section_offset)
                    .finish();
            }
            Self::Accepted => ListWriter::new(out, 0x24).finish(),
            Self::Rejected(error) => {
                ListWriter::new(out, 0x25)
                    .put_option(error.as_ref())
                    .finish();
            }
            Self::Released => ListWriter::new(out, 0x26).finish(),
            Self::Modified {
                delivery_failed,
                undeliverable_here,
                annotations,
            } => {
                ListWriter::new(out, 0x27)
                    .put(delivery_failed)
                    .put(undeliverable_here)
                    .put_encoded(annotations.as_deref())
                    .finish();
            }
            Self::Other(descriptor) => {
                out.push(0);
                descriptor.encode(out);
                out.push(0x45);
            }
        }
    }
}
