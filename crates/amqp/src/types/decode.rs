use bytes::Bytes;

use super::{Array, DecodeError, Described, Reader, Symbol, Timestamp, Value, code, reader::Width};

/// A type that can be read from its AMQP encoding.
pub trait Decode: Sized {
    /// Reads the value whose format code has just been read.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are no valid encoding of the type.
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError>;

    /// Reads one value with its format code.
    ///
    /// # Errors
    /// As [`Self::decode_as`].
    fn decode(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let code = reader.byte()?;
        Self::decode_as(code, reader)
    }
}

fn unexpected<T>(code: u8, expected: &'static str) -> Result<T, DecodeError> {
    Err(DecodeError::UnexpectedCode { code, expected })
}

impl Decode for bool {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match code {
            code::TRUE => Ok(true),
            code::FALSE => Ok(false),
            code::BOOLEAN => match reader.byte()? {
                0 => Ok(false),
                1 => Ok(true),
                _ => Err(DecodeError::OutOfRange("boolean")),
            },
            _ => unexpected(code, "boolean"),
        }
    }
}

impl Decode for u8 {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match code {
            code::UBYTE => reader.byte(),
            _ => unexpected(code, "ubyte"),
        }
    }
}

impl Decode for u16 {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match code {
            code::USHORT => reader.chunk().map(Self::from_be_bytes),
            _ => unexpected(code, "ushort"),
        }
    }
}

impl Decode for u32 {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match code {
            code::UINT_0 => Ok(0),
            code::UINT_SMALL => reader.byte().map(Self::from),
            code::UINT => reader.chunk().map(Self::from_be_bytes),
            _ => unexpected(code, "uint"),
        }
    }
}

impl Decode for u64 {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match code {
            code::ULONG_0 => Ok(0),
            code::ULONG_SMALL => reader.byte().map(Self::from),
            code::ULONG => reader.chunk().map(Self::from_be_bytes),
            _ => unexpected(code, "ulong"),
        }
    }
}

impl Decode for i32 {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match code {
            code::INT_SMALL => reader.chunk().map(i8::from_be_bytes).map(Self::from),
            code::INT => reader.chunk().map(Self::from_be_bytes),
            _ => unexpected(code, "int"),
        }
    }
}

impl Decode for i64 {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match code {
            code::LONG_SMALL => reader.chunk().map(i8::from_be_bytes).map(Self::from),
            code::LONG => reader.chunk().map(Self::from_be_bytes),
            _ => unexpected(code, "long"),
        }
    }
}

impl Decode for Timestamp {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match code {
            code::TIMESTAMP => reader.chunk().map(|bytes| Self(i64::from_be_bytes(bytes))),
            _ => unexpected(code, "timestamp"),
        }
    }
}

/// Takes the bytes of a string or symbol; clients mix the two up, so each is taken for the other.
fn text<'a>(code: u8, reader: &mut Reader<'a>) -> Result<&'a str, DecodeError> {
    let bytes = match code {
        code::STRING_8 | code::SYMBOL_8 => reader.variable(Width::One)?,
        code::STRING_32 | code::SYMBOL_32 => reader.variable(Width::Four)?,
        _ => return unexpected(code, "string or symbol"),
    };
    std::str::from_utf8(bytes).map_err(|_| DecodeError::BadText)
}

impl Decode for String {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        text(code, reader).map(ToOwned::to_owned)
    }
}

impl Decode for Symbol {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::new(text(code, reader)?).ok_or(DecodeError::BadText)
    }
}

impl Decode for Bytes {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let bytes = match code {
            code::BINARY_8 => reader.variable(Width::One)?,
            code::BINARY_32 => reader.variable(Width::Four)?,
            _ => text(code, reader)?.as_bytes(),
        };
        Ok(reader.own(bytes))
    }
}

/// Reads a field that may hold one symbol or an array of them (`multiple="true"`).
impl Decode for Vec<Symbol> {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (count, mut items) = match code {
            code::ARRAY_8 => reader.compound(Width::One)?,
            code::ARRAY_32 => reader.compound(Width::Four)?,
            _ => return Ok(vec![Symbol::decode_as(code, reader)?]),
        };
        let item_code = items.byte()?;
        let mut symbols = Vec::new();
        for _ in 0..count {
            symbols.push(Symbol::decode_as(item_code, &mut items)?);
        }
        Ok(symbols)
    }
}

/// Reads a map with symbolic keys; entries with other keys are reserved and left out.
impl Decode for Vec<(Symbol, Value)> {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut entries = Vec::new();
        for (key, value) in pairs(code, reader)? {
            match key {
                Value::Symbol(key) => entries.push((key, value)),
                Value::String(key) => {
                    entries.push((Symbol::new(key).ok_or(DecodeError::BadText)?, value));
                }
                _ => {}
            }
        }
        Ok(entries)
    }
}

impl Decode for Value {
    fn decode_as(code: u8, reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match code {
            code::DESCRIBED => {
                reader.descend()?;
                let descriptor = Self::decode(reader)?;
                let value = Self::decode(reader)?;
                reader.ascend();
                Self::Described(Box::new(Described { descriptor, value }))
            }
            code::LIST_0 => Self::List(Vec::new()),
            code::LIST_8 => list(reader, Width::One)?,
            code::LIST_32 => list(reader, Width::Four)?,
            code::MAP_8 | code::MAP_32 => Self::Map(pairs(code, reader)?),
            code::ARRAY_8 => array(reader, Width::One)?,
            code::ARRAY_32 => array(reader, Width::Four)?,
            _ => return scalar(code, reader),
        })
    }
}

fn scalar(code: u8, reader: &mut Reader<'_>) -> Result<Value, DecodeError> {
    Ok(match code {
        code::NULL => Value::Null,
        code::TRUE | code::FALSE | code::BOOLEAN => Value::Boolean(bool::decode_as(code, reader)?),
        code::UBYTE => Value::Ubyte(reader.byte()?),
        code::USHORT => Value::Ushort(u16::decode_as(code, reader)?),
        code::UINT_0 | code::UINT_SMALL | code::UINT => Value::Uint(u32::decode_as(code, reader)?),
        code::ULONG_0 | code::ULONG_SMALL | code::ULONG => {
            Value::Ulong(u64::decode_as(code, reader)?)
        }
        code::BYTE => Value::Byte(i8::from_be_bytes(reader.chunk()?)),
        code::SHORT => Value::Short(i16::from_be_bytes(reader.chunk()?)),
        code::INT_SMALL | code::INT => Value::Int(i32::decode_as(code, reader)?),
        code::LONG_SMALL | code::LONG => Value::Long(i64::decode_as(code, reader)?),
        code::FLOAT => Value::Float(f32::from_be_bytes(reader.chunk()?)),
        code::DOUBLE => Value::Double(f64::from_be_bytes(reader.chunk()?)),
        code::CHAR => {
            let letter = char::from_u32(u32::from_be_bytes(reader.chunk()?));
            Value::Char(letter.ok_or(DecodeError::OutOfRange("char"))?)
        }
        code::DECIMAL_32 => Value::Decimal32(reader.chunk()?),
        code::DECIMAL_64 => Value::Decimal64(reader.chunk()?),
        code::DECIMAL_128 => Value::Decimal128(reader.chunk()?),
        code::TIMESTAMP => Value::Timestamp(Timestamp::decode_as(code, reader)?),
        code::UUID => Value::Uuid(reader.chunk()?),
        code::BINARY_8 | code::BINARY_32 => Value::Binary(Bytes::decode_as(code, reader)?),
        code::STRING_8 | code::STRING_32 => Value::String(String::decode_as(code, reader)?),
        code::SYMBOL_8 | code::SYMBOL_32 => Value::Symbol(Symbol::decode_as(code, reader)?),
        _ => return unexpected(code, "any type"),
    })
}

fn list(reader: &mut Reader<'_>, width: Width) -> Result<Value, DecodeError> {
    let (count, mut inner) = reader.compound(width)?;
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(Value::decode(&mut inner)?);
    }
    if inner.is_empty() {
        Ok(Value::List(items))
    } else {
        Err(DecodeError::BadCompound)
    }
}

/// Reads the entries of a map in order.
fn pairs(code: u8, reader: &mut Reader<'_>) -> Result<Vec<(Value, Value)>, DecodeError> {
    let (count, mut inner) = match code {
        code::MAP_8 => reader.compound(Width::One)?,
        code::MAP_32 => reader.compound(Width::Four)?,
        _ => return unexpected(code, "map"),
    };
    if count % 2 != 0 {
        return Err(DecodeError::BadCompound);
    }
    let mut entries = Vec::new();
    for _ in 0..count / 2 {
        entries.push((Value::decode(&mut inner)?, Value::decode(&mut inner)?));
    }
    if inner.is_empty() {
        Ok(entries)
    } else {
        Err(DecodeError::BadCompound)
    }
}

/// Reads an array: one constructor, then the items without constructors.
///
/// Items of no width (null, `true`, `uint0`) have no bytes, so a count of them fails the rule that
/// a compound holds at most as many elements as bytes. Arrays of described items are refused too:
/// their one descriptor would be repeated in memory for each item. No client sends either.
fn array(reader: &mut Reader<'_>, width: Width) -> Result<Value, DecodeError> {
    let (count, mut inner) = reader.compound(width)?;
    let code = inner.byte()?;
    if count > inner.rest().len() || code == code::DESCRIBED {
        return Err(DecodeError::BadCompound);
    }
    let mut items = Vec::new();
    for _ in 0..count {
        items.push(Value::decode_as(code, &mut inner)?);
    }
    if !inner.is_empty() {
        return Err(DecodeError::BadCompound);
    }
    Array::new(items)
        .map(Value::Array)
        .map_err(|_| DecodeError::BadCompound)
}
