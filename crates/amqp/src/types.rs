//! The type system of AMQP 1.0 (part 1): values, their encodings, and composite lists.
//!
//! Decoding is bounded: nesting stops at [`MAX_DEPTH`], a compound never holds more elements than
//! it has bytes, and no announced size is believed before the bytes are there.

mod code;
mod decode;
mod encode;
mod list;
mod reader;
mod symbol;
mod value;

pub use decode::Decode;
pub use encode::Encode;
pub(crate) use encode::{binary_head, encode_map};
pub(crate) use list::{Fields, ListWriter, decode_descriptor};
pub use reader::Reader;
pub use symbol::Symbol;
pub use value::{Array, Described, MixedArray, Timestamp, Value};

/// Deepest nesting of compound and described values that is decoded.
pub const MAX_DEPTH: u8 = 32;

/// A byte sequence that is no valid AMQP encoding of what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("value is cut short")]
    Truncated,
    /// The format code is unknown or not one of the expected type.
    #[error("format code {code:#04x} is not one of {expected}")]
    UnexpectedCode {
        /// The code found.
        code: u8,
        /// The type that was expected.
        expected: &'static str,
    },
    /// A string is not UTF-8, or a symbol is not ASCII.
    #[error("text is not in its character set")]
    BadText,
    /// A value lies outside the range of its type, such as a surrogate as a char.
    #[error("value of type {0} is out of range")]
    OutOfRange(&'static str),
    /// A compound announces more elements than it has bytes, an odd map, or leaves bytes over.
    #[error("compound value does not match its size and count")]
    BadCompound,
    /// Values nest deeper than [`MAX_DEPTH`].
    #[error("values are nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The descriptor is not that of the expected composite type.
    #[error("descriptor {0:#x} is not expected here")]
    UnexpectedDescriptor(u64),
    /// A mandatory field is missing or null.
    #[error("field {0} is missing")]
    MissingField(&'static str),
}

#[cfg(test)]
mod tests;
