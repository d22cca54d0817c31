use bytes::Bytes;

use super::Symbol;

/// Milliseconds since the Unix epoch, the AMQP type `timestamp`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(pub i64);

/// Any AMQP value, with its type kept exactly so that it can be sent back as it came.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// `boolean`.
    Boolean(bool),
    /// `ubyte`.
    Ubyte(u8),
    /// `ushort`.
    Ushort(u16),
    /// `uint`.
    Uint(u32),
    /// `ulong`.
    Ulong(u64),
    /// `byte`.
    Byte(i8),
    /// `short`.
    Short(i16),
    /// `int`.
    Int(i32),
    /// `long`.
    Long(i64),
    /// `float`.
    Float(f32),
    /// `double`.
    Double(f64),
    /// `decimal32`, as its four bytes.
    Decimal32([u8; 4]),
    /// `decimal64`, as its eight bytes.
    Decimal64([u8; 8]),
    /// `decimal128`, as its sixteen bytes.
    Decimal128([u8; 16]),
    /// `char`.
    Char(char),
    /// `timestamp`.
    Timestamp(Timestamp),
    /// `uuid`, in network order.
    Uuid([u8; 16]),
    /// `binary`.
    Binary(Bytes),
    /// `string`.
    String(String),
    /// `symbol`.
    Symbol(Symbol),
    /// `list`.
    List(Vec<Value>),
    /// `map`, in the order it was sent.
    Map(Vec<(Value, Value)>),
    /// `array`.
    Array(Array),
    /// A value with a descriptor.
    Described(Box<Described>),
}

/// A value and the descriptor that says what it means.
#[derive(Clone, Debug, PartialEq)]
pub struct Described {
    /// What the value is; usually a `ulong` or a `symbol`.
    pub descriptor: Value,
    /// The value itself.
    pub value: Value,
}

/// A sequence of values of one type.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Array(Vec<Value>);

/// Items of an array are not all of one type that can stand in an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("items of an array must be of one type, neither null nor described")]
pub struct MixedArray;

impl Array {
    /// Returns an array of `items`.
    ///
    /// # Errors
    /// [`MixedArray`] when the items differ in type, are null or described.
    pub fn new(items: Vec<Value>) -> Result<Self, MixedArray> {
        let Some(first) = items.first() else {
            return Ok(Self(items));
        };
        if items.iter().all(|item| item.is_array_mate_of(first)) {
            Ok(Self(items))
        } else {
            Err(MixedArray)
        }
    }

    /// Returns the items in order.
    pub fn items(&self) -> &[Value] {
        &self.0
    }
}

impl Value {
    /// Returns the text of a `string` or a `symbol`.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            Self::Symbol(symbol) => Some(symbol.as_str()),
            _ => None,
        }
    }

    /// Returns the text of a scalar value as a device may see it, `None` for null and compounds.
    ///
    /// Devices take strings only (amqp.md §5.3); binaries that are no UTF-8 have no text.
    pub fn to_scalar_text(&self) -> Option<String> {
        match self {
            Self::String(text) => Some(text.clone()),
            Self::Symbol(symbol) => Some(symbol.as_str().to_owned()),
            Self::Boolean(flag) => Some(flag.to_string()),
            Self::Ubyte(number) => Some(number.to_string()),
            Self::Ushort(number) => Some(number.to_string()),
            Self::Uint(number) => Some(number.to_string()),
            Self::Ulong(number) => Some(number.to_string()),
            Self::Byte(number) => Some(number.to_string()),
            Self::Short(number) => Some(number.to_string()),
            Self::Int(number) => Some(number.to_string()),
            Self::Long(number) | Self::Timestamp(Timestamp(number)) => Some(number.to_string()),
            Self::Float(number) => Some(number.to_string()),
            Self::Double(number) => Some(number.to_string()),
            Self::Char(letter) => Some(letter.to_string()),
            Self::Uuid(bytes) => Some(uuid_text(bytes)),
            Self::Binary(bytes) => std::str::from_utf8(bytes).ok().map(ToOwned::to_owned),
            Self::Null
            | Self::Decimal32(_)
            | Self::Decimal64(_)
            | Self::Decimal128(_)
            | Self::List(_)
            | Self::Map(_)
            | Self::Array(_)
            | Self::Described(_) => None,
        }
    }

    /// Whether `self` may stand in one array with `other`: the same constructor encodes both.
    fn is_array_mate_of(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null | Self::Described(_), _) => false,
            // Inner arrays have constructors of their own, so any two of them go together.
            (mine, theirs) => std::mem::discriminant(mine) == std::mem::discriminant(theirs),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<Symbol> for Value {
    fn from(symbol: Symbol) -> Self {
        Self::Symbol(symbol)
    }
}

/// Returns the lower-case `8-4-4-4-12` form of a uuid in network order.
pub(crate) fn uuid_text(bytes: &[u8; 16]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
