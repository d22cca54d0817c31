use bytes::Bytes;

use super::{Array, Described, Symbol, Timestamp, Value, code};

/// A type that can be written as AMQP, in its shortest encoding.
pub trait Encode {
    /// Appends the encoding, format code included, to `out`.
    fn encode(&self, out: &mut Vec<u8>);
}

impl<T: Encode + ?Sized> Encode for &T {
    fn encode(&self, out: &mut Vec<u8>) {
        (**self).encode(out);
    }
}

impl Encode for bool {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(if *self { code::TRUE } else { code::FALSE });
    }
}

impl Encode for u8 {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend([code::UBYTE, *self]);
    }
}

impl Encode for u16 {
    fn encode(&self, out: &mut Vec<u8>) {
        put(out, code::USHORT, &self.to_be_bytes());
    }
}

impl Encode for u32 {
    fn encode(&self, out: &mut Vec<u8>) {
        match u8::try_from(*self) {
            Ok(0) => out.push(code::UINT_0),
            Ok(small) => out.extend([code::UINT_SMALL, small]),
            Err(_) => put(out, code::UINT, &self.to_be_bytes()),
        }
    }
}

impl Encode for u64 {
    fn encode(&self, out: &mut Vec<u8>) {
        match u8::try_from(*self) {
            Ok(0) => out.push(code::ULONG_0),
            Ok(small) => out.extend([code::ULONG_SMALL, small]),
            Err(_) => put(out, code::ULONG, &self.to_be_bytes()),
        }
    }
}

/// Always the four-byte form, as the real hub writes its status codes (amqp.md §13, 10).
impl Encode for i32 {
    fn encode(&self, out: &mut Vec<u8>) {
        put(out, code::INT, &self.to_be_bytes());
    }
}

impl Encode for i64 {
    fn encode(&self, out: &mut Vec<u8>) {
        put(out, code::LONG, &self.to_be_bytes());
    }
}

impl Encode for Timestamp {
    fn encode(&self, out: &mut Vec<u8>) {
        put(out, code::TIMESTAMP, &self.0.to_be_bytes());
    }
}

impl Encode for str {
    fn encode(&self, out: &mut Vec<u8>) {
        variable(out, [code::STRING_8, code::STRING_32], self.as_bytes());
    }
}

impl Encode for String {
    fn encode(&self, out: &mut Vec<u8>) {
        self.as_str().encode(out);
    }
}

impl Encode for Symbol {
    fn encode(&self, out: &mut Vec<u8>) {
        variable(
            out,
            [code::SYMBOL_8, code::SYMBOL_32],
            self.as_str().as_bytes(),
        );
    }
}

impl Encode for [u8] {
    fn encode(&self, out: &mut Vec<u8>) {
        variable(out, [code::BINARY_8, code::BINARY_32], self);
    }
}

impl Encode for Bytes {
    fn encode(&self, out: &mut Vec<u8>) {
        (**self).encode(out);
    }
}

/// Writes an array even of one symbol: uamqp takes the SASL mechanisms in no other form.
impl Encode for [Symbol] {
    fn encode(&self, out: &mut Vec<u8>) {
        compound(out, [code::ARRAY_8, code::ARRAY_32], self.len(), |out| {
            out.push(code::SYMBOL_32);
            for symbol in self {
                put_sized(out, symbol.as_str().as_bytes());
            }
        });
    }
}

impl Encode for [(Symbol, Value)] {
    fn encode(&self, out: &mut Vec<u8>) {
        encode_map(out, self.iter().map(|(key, value)| (key, value)));
    }
}

impl Encode for Described {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(code::DESCRIBED);
        self.descriptor.encode(out);
        self.value.encode(out);
    }
}

impl Encode for Value {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.push(code::NULL),
            Self::Boolean(flag) => flag.encode(out),
            Self::Ubyte(number) => number.encode(out),
            Self::Ushort(number) => number.encode(out),
            Self::Uint(number) => number.encode(out),
            Self::Ulong(number) => number.encode(out),
            Self::Int(number) => number.encode(out),
            Self::Long(number) => number.encode(out),
            Self::String(text) => text.encode(out),
            Self::Symbol(symbol) => symbol.encode(out),
            Self::Binary(bytes) => bytes.encode(out),
            Self::List(items) if items.is_empty() => out.push(code::LIST_0),
            Self::List(items) => {
                compound(out, [code::LIST_8, code::LIST_32], items.len(), |out| {
                    for item in items {
                        item.encode(out);
                    }
                });
            }
            Self::Map(entries) => {
                encode_map(out, entries.iter().map(|(key, value)| (key, value)));
            }
            Self::Array(array) => {
                compound(
                    out,
                    [code::ARRAY_8, code::ARRAY_32],
                    array.items().len(),
                    |out| {
                        array_body(array, out);
                    },
                );
            }
            Self::Described(described) => described.encode(out),
            Self::Byte(_)
            | Self::Short(_)
            | Self::Float(_)
            | Self::Double(_)
            | Self::Decimal32(_)
            | Self::Decimal64(_)
            | Self::Decimal128(_)
            | Self::Char(_)
            | Self::Timestamp(_)
            | Self::Uuid(_) => {
                out.push(widest_code(self));
                widest_body(self, out);
            }
        }
    }
}

/// Writes a map of `entries`, in order.
pub(crate) fn encode_map<K: Encode, V: Encode>(
    out: &mut Vec<u8>,
    entries: impl ExactSizeIterator<Item = (K, V)>,
) {
    let count = entries.len().saturating_mul(2);
    compound(out, [code::MAP_8, code::MAP_32], count, |out| {
        for (key, value) in entries {
            key.encode(out);
            value.encode(out);
        }
    });
}

/// Writes the constructor of an array and its items without constructors.
fn array_body(array: &Array, out: &mut Vec<u8>) {
    out.push(array.items().first().map_or(code::NULL, widest_code));
    for item in array.items() {
        widest_body(item, out);
    }
}

/// Returns the format code whose width fits every value of the type of `value`.
fn widest_code(value: &Value) -> u8 {
    match value {
        Value::Null => code::NULL,
        Value::Boolean(_) => code::BOOLEAN,
        Value::Ubyte(_) => code::UBYTE,
        Value::Ushort(_) => code::USHORT,
        Value::Uint(_) => code::UINT,
        Value::Ulong(_) => code::ULONG,
        Value::Byte(_) => code::BYTE,
        Value::Short(_) => code::SHORT,
        Value::Int(_) => code::INT,
        Value::Long(_) => code::LONG,
        Value::Float(_) => code::FLOAT,
        Value::Double(_) => code::DOUBLE,
        Value::Decimal32(_) => code::DECIMAL_32,
        Value::Decimal64(_) => code::DECIMAL_64,
        Value::Decimal128(_) => code::DECIMAL_128,
        Value::Char(_) => code::CHAR,
        Value::Timestamp(_) => code::TIMESTAMP,
        Value::Uuid(_) => code::UUID,
        Value::Binary(_) => code::BINARY_32,
        Value::String(_) => code::STRING_32,
        Value::Symbol(_) => code::SYMBOL_32,
        Value::List(_) => code::LIST_32,
        Value::Map(_) => code::MAP_32,
        Value::Array(_) => code::ARRAY_32,
        Value::Described(_) => code::DESCRIBED,
    }
}

/// Writes `value` as it follows its [`widest_code`].
fn widest_body(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => {}
        Value::Boolean(flag) => out.push(u8::from(*flag)),
        Value::Ubyte(number) => out.push(*number),
        Value::Ushort(number) => out.extend(number.to_be_bytes()),
        Value::Uint(number) => out.extend(number.to_be_bytes()),
        Value::Ulong(number) => out.extend(number.to_be_bytes()),
        Value::Byte(number) => out.extend(number.to_be_bytes()),
        Value::Short(number) => out.extend(number.to_be_bytes()),
        Value::Int(number) => out.extend(number.to_be_bytes()),
        Value::Long(number) | Value::Timestamp(Timestamp(number)) => {
            out.extend(number.to_be_bytes());
        }
        Value::Float(number) => out.extend(number.to_be_bytes()),
        Value::Double(number) => out.extend(number.to_be_bytes()),
        Value::Decimal32(bytes) => out.extend(bytes),
        Value::Decimal64(bytes) => out.extend(bytes),
        Value::Decimal128(bytes) | Value::Uuid(bytes) => out.extend(bytes),
        Value::Char(letter) => out.extend(u32::from(*letter).to_be_bytes()),
        Value::Binary(bytes) => put_sized(out, bytes),
        Value::String(text) => put_sized(out, text.as_bytes()),
        Value::Symbol(symbol) => put_sized(out, symbol.as_str().as_bytes()),
        Value::List(items) => wide_compound(out, items.len(), |out| {
            for item in items {
                item.encode(out);
            }
        }),
        Value::Map(entries) => wide_compound(out, entries.len().saturating_mul(2), |out| {
            for (key, value) in entries {
                key.encode(out);
                value.encode(out);
            }
        }),
        Value::Array(array) => {
            wide_compound(out, array.items().len(), |out| array_body(array, out));
        }
        Value::Described(described) => {
            described.descriptor.encode(out);
            described.value.encode(out);
        }
    }
}

fn put(out: &mut Vec<u8>, code: u8, bytes: &[u8]) {
    out.push(code);
    out.extend_from_slice(bytes);
}

/// Writes a four-byte length and the bytes.
fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(wire_length(bytes.len()).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Writes a variable-width value with the narrow or the wide code.
fn variable(out: &mut Vec<u8>, codes: [u8; 2], bytes: &[u8]) {
    variable_head(out, codes, bytes.len());
    out.extend_from_slice(bytes);
}

fn variable_head(out: &mut Vec<u8>, [narrow, wide]: [u8; 2], length: usize) {
    if let Ok(length) = u8::try_from(length) {
        out.extend([narrow, length]);
    } else {
        put(out, wide, &wire_length(length).to_be_bytes());
    }
}

/// Writes what precedes the bytes of a binary.
pub(crate) fn binary_head(out: &mut Vec<u8>, length: usize) {
    variable_head(out, [code::BINARY_8, code::BINARY_32], length);
}

/// Writes a compound of `count` elements with the narrow code if its size allows.
pub(crate) fn compound(
    out: &mut Vec<u8>,
    [narrow, wide]: [u8; 2],
    count: usize,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    out.extend([narrow, 0, 0]);
    let body_start = out.len();
    body(out);
    let size = out.len().saturating_sub(body_start).saturating_add(1);
    if let (Ok(size), Ok(count)) = (u8::try_from(size), u8::try_from(count)) {
        patch(out, start, &[narrow, size, count]);
    } else {
        let size = wire_length(size.saturating_add(3)).to_be_bytes();
        let count = wire_length(count).to_be_bytes();
        let head = std::iter::once(wide).chain(size).chain(count);
        out.splice(start..body_start, head);
    }
}

/// Writes the four-byte size and count of a compound whose code stands elsewhere, and its body.
fn wide_compound(out: &mut Vec<u8>, count: usize, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend([0; 4]);
    out.extend(wire_length(count).to_be_bytes());
    body(out);
    let size = out.len().saturating_sub(start).saturating_sub(4);
    patch(out, start, &wire_length(size).to_be_bytes());
}

/// Overwrites bytes already written at `start`.
pub(crate) fn patch(out: &mut [u8], start: usize, bytes: &[u8]) {
    let end = start.saturating_add(bytes.len());
    if let Some(target) = out.get_mut(start..end) {
        target.copy_from_slice(bytes);
    }
}

/// Returns a length as it stands on the wire; nothing this crate encodes comes near four GiB.
pub(crate) fn wire_length(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
