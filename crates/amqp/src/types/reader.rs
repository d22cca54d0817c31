use bytes::Bytes;

use super::{DecodeError, MAX_DEPTH, code};

/// A cursor over encoded values.
///
/// It never reads past its bytes and never allocates for a size it has not seen. Binaries are cut
/// out of the backing buffer without a copy when there is one, and copied otherwise.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    backing: Option<&'a Bytes>,
    depth: u8,
}

impl<'a> Reader<'a> {
    /// Reads from a plain slice; binaries are copied.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            backing: None,
            depth: 0,
        }
    }

    /// Reads from a shared buffer; binaries become slices of it.
    pub fn over(bytes: &'a Bytes) -> Self {
        Self {
            rest: bytes,
            backing: Some(bytes),
            depth: 0,
        }
    }

    /// Returns the bytes not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Reads one byte.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn byte(&mut self) -> Result<u8, DecodeError> {
        let [byte] = self.chunk::<1>()?;
        Ok(byte)
    }

    /// Reads `N` bytes.
    pub(crate) fn chunk<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (chunk, rest) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*chunk)
    }

    /// Takes the next `count` bytes.
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Reads a length of one byte, or of four when `is_wide`.
    fn length(&mut self, width: Width) -> Result<usize, DecodeError> {
        match width {
            Width::One => Ok(usize::from(self.byte()?)),
            Width::Four => {
                let length = u32::from_be_bytes(self.chunk()?);
                usize::try_from(length).map_err(|_| DecodeError::Truncated)
            }
        }
    }

    /// Takes a variable-width value: a length, then that many bytes.
    pub(crate) fn variable(&mut self, width: Width) -> Result<&'a [u8], DecodeError> {
        let length = self.length(width)?;
        self.take(length)
    }

    /// Opens a compound: returns its element count and a reader over its elements, one deeper.
    pub(crate) fn compound(&mut self, width: Width) -> Result<(usize, Reader<'a>), DecodeError> {
        let body = self.variable(width)?;
        let depth = self.depth.saturating_add(1);
        if depth > MAX_DEPTH {
            return Err(DecodeError::TooDeep);
        }
        let mut inner = Reader {
            rest: body,
            backing: self.backing,
            depth,
        };
        let count = inner.length(width)?;
        if count > inner.rest.len() {
            return Err(DecodeError::BadCompound);
        }
        Ok((count, inner))
    }

    /// Goes one level deeper in place, for a described value.
    pub(crate) fn descend(&mut self) -> Result<(), DecodeError> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > MAX_DEPTH {
            Err(DecodeError::TooDeep)
        } else {
            Ok(())
        }
    }

    /// Comes back from [`Self::descend`].
    pub(crate) fn ascend(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// Makes owned bytes of a slice this reader has handed out.
    pub(crate) fn own(&self, slice: &'a [u8]) -> Bytes {
        match self.backing {
            Some(backing) if !slice.is_empty() => backing.slice_ref(slice),
            _ => Bytes::copy_from_slice(slice),
        }
    }

    /// Skips one value without looking inside compounds, and returns its encoding.
    ///
    /// # Errors
    /// [`DecodeError`] when the value is cut short, of an unknown format, or described too deeply.
    pub fn skip(&mut self) -> Result<&'a [u8], DecodeError> {
        let before = self.rest;
        let code = self.byte()?;
        self.skip_as(code)?;
        let length = before.len().saturating_sub(self.rest.len());
        before.get(..length).ok_or(DecodeError::Truncated)
    }

    /// Skips the value whose format code has just been read.
    pub(crate) fn skip_as(&mut self, code: u8) -> Result<(), DecodeError> {
        if code == code::DESCRIBED {
            self.descend()?;
            self.skip()?;
            self.skip()?;
            self.ascend();
            return Ok(());
        }
        // The upper half of a format code gives the width of what follows (AMQP 1.0 1.2).
        match code >> 4 {
            0x4 => Ok(()),
            0x5 => self.take(1).map(drop),
            0x6 => self.take(2).map(drop),
            0x7 => self.take(4).map(drop),
            0x8 => self.take(8).map(drop),
            0x9 => self.take(16).map(drop),
            0xa | 0xc | 0xe => self.variable(Width::One).map(drop),
            0xb | 0xd | 0xf => self.variable(Width::Four).map(drop),
            _ => Err(DecodeError::UnexpectedCode {
                code,
                expected: "any type",
            }),
        }
    }
}

/// Width of a size or count field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Width {
    One,
    Four,
}
