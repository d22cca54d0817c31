//! Composite values: described lists whose fields are known by position (AMQP 1.0 part 1.4).

use super::{Decode, DecodeError, Encode, Reader, code, encode, reader::Width};

/// The fields of a composite, read in order; those missing at the end read as null.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    reader: Reader<'a>,
    left: usize,
}

impl<'a> Fields<'a> {
    /// Opens the list that follows a descriptor.
    pub(crate) fn open(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let code = reader.byte()?;
        let (left, inner) = match code {
            code::LIST_0 => (0, Reader::new(&[])),
            code::LIST_8 => reader.compound(Width::One)?,
            code::LIST_32 => reader.compound(Width::Four)?,
            _ => {
                return Err(DecodeError::UnexpectedCode {
                    code,
                    expected: "list",
                });
            }
        };
        Ok(Self {
            reader: inner,
            left,
        })
    }

    /// Reads the format code of the next field, `None` for null or past the end.
    fn next_code(&mut self) -> Result<Option<u8>, DecodeError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        let code = self.reader.byte()?;
        Ok((code != code::NULL).then_some(code))
    }

    /// Reads a field that may be null.
    pub(crate) fn optional<T: Decode>(&mut self) -> Result<Option<T>, DecodeError> {
        let Some(code) = self.next_code()? else {
            return Ok(None);
        };
        T::decode_as(code, &mut self.reader).map(Some)
    }

    /// Reads a mandatory field.
    pub(crate) fn required<T: Decode>(&mut self, name: &'static str) -> Result<T, DecodeError> {
        self.optional()?.ok_or(DecodeError::MissingField(name))
    }

    /// Reads a field whose null stands for its default.
    pub(crate) fn or_default<T: Decode + Default>(&mut self) -> Result<T, DecodeError> {
        Ok(self.optional()?.unwrap_or_default())
    }

    /// Passes over a field that does not matter here, without decoding it.
    pub(crate) fn skip(&mut self) -> Result<(), DecodeError> {
        match self.next_code()? {
            Some(code) => self.reader.skip_as(code),
            None => Ok(()),
        }
    }

    /// Returns the next field's value still encoded, `None` when null.
    pub(crate) fn encoded(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        self.left = left;
        let value = self.reader.skip()?;
        Ok((value != [code::NULL]).then_some(value))
    }
}

/// Writes a composite; trailing nulls are left away.
#[derive(Debug)]
pub(crate) struct ListWriter<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
    count: u8,
    /// Length and count up to the last field that is not null.
    kept: (usize, u8),
}

impl<'a> ListWriter<'a> {
    /// Starts a list with a descriptor of one byte, which all of the standard's are.
    pub(crate) fn new(out: &'a mut Vec<u8>, descriptor: u8) -> Self {
        out.extend([code::DESCRIBED, code::ULONG_SMALL, descriptor]);
        let start = out.len();
        out.extend([code::LIST_8, 0, 0]);
        let kept = (out.len(), 0);
        Self {
            out,
            start,
            count: 0,
            kept,
        }
    }

    /// Writes a field.
    pub(crate) fn put<T: Encode + ?Sized>(&mut self, value: &T) -> &mut Self {
        value.encode(self.out);
        self.count = self.count.saturating_add(1);
        self.kept = (self.out.len(), self.count);
        self
    }

    /// Writes a field or null.
    pub(crate) fn put_option<T: Encode>(&mut self, value: Option<T>) -> &mut Self {
        match value {
            Some(value) => self.put(&value),
            None => self.null(),
        }
    }

    /// Writes a field that is encoded already, or null.
    pub(crate) fn put_encoded(&mut self, value: Option<&[u8]>) -> &mut Self {
        let Some(value) = value else {
            return self.null();
        };
        self.out.extend_from_slice(value);
        self.count = self.count.saturating_add(1);
        self.kept = (self.out.len(), self.count);
        self
    }

    /// Writes null.
    pub(crate) fn null(&mut self) -> &mut Self {
        self.out.push(code::NULL);
        self.count = self.count.saturating_add(1);
        self
    }

    /// Writes `count` nulls.
    pub(crate) fn nulls(&mut self, count: u8) -> &mut Self {
        for _ in 0..count {
            self.null();
        }
        self
    }

    /// Ends the list and fills in its size and count.
    pub(crate) fn finish(&mut self) {
        let (length, count) = self.kept;
        self.out.truncate(length);
        let size = length.saturating_sub(self.start).saturating_sub(2);
        if count == 0 {
            self.out.truncate(self.start);
            self.out.push(code::LIST_0);
        } else if let Ok(size) = u8::try_from(size) {
            encode::patch(self.out, self.start, &[code::LIST_8, size, count]);
        } else {
            let size = encode::wire_length(size.saturating_add(3)).to_be_bytes();
            let head = [code::LIST_32]
                .into_iter()
                .chain(size)
                .chain([0, 0, 0, count]);
            self.out
                .splice(self.start..self.start.saturating_add(3), head);
        }
    }
}

/// Reads a descriptor as its numeric code; the symbolic names of the standard are translated.
///
/// Returns 0, which no composite has, for a descriptor of another kind or name.
pub(crate) fn decode_descriptor(reader: &mut Reader<'_>) -> Result<u64, DecodeError> {
    let code = reader.byte()?;
    match code {
        code::ULONG_0 | code::ULONG_SMALL | code::ULONG => u64::decode_as(code, reader),
        code::SYMBOL_8 | code::SYMBOL_32 => Ok(code_of_name(&String::decode_as(code, reader)?)),
        _ => {
            reader.skip_as(code)?;
            Ok(0)
        }
    }
}

/// Returns the numeric descriptor of a symbolic one, 0 if there is none.
fn code_of_name(name: &str) -> u64 {
    match name {
        "amqp:open:list" => 0x10,
        "amqp:begin:list" => 0x11,
        "amqp:attach:list" => 0x12,
        "amqp:flow:list" => 0x13,
        "amqp:transfer:list" => 0x14,
        "amqp:disposition:list" => 0x15,
        "amqp:detach:list" => 0x16,
        "amqp:end:list" => 0x17,
        "amqp:close:list" => 0x18,
        "amqp:error:list" => 0x1d,
        "amqp:received:list" => 0x23,
        "amqp:accepted:list" => 0x24,
        "amqp:rejected:list" => 0x25,
        "amqp:released:list" => 0x26,
        "amqp:modified:list" => 0x27,
        "amqp:source:list" => 0x28,
        "amqp:target:list" => 0x29,
        "amqp:coordinator:list" => 0x30,
        "amqp:sasl-mechanisms:list" => 0x40,
        "amqp:sasl-init:list" => 0x41,
        "amqp:sasl-challenge:list" => 0x42,
        "amqp:sasl-response:list" => 0x43,
        "amqp:sasl-outcome:list" => 0x44,
        "amqp:header:list" => 0x70,
        "amqp:delivery-annotations:map" => 0x71,
        "amqp:message-annotations:map" => 0x72,
        "amqp:properties:list" => 0x73,
        "amqp:application-properties:map" => 0x74,
        "amqp:data:binary" => 0x75,
        "amqp:amqp-sequence:list" => 0x76,
        "amqp:amqp-value:*" => 0x77,
        "amqp:footer:map" => 0x78,
        _ => 0,
    }
}
