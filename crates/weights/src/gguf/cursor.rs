//! Reading numbers and texts without leaving the file.

use super::GgufError;

/// The most bytes of a header that are read. Llama 3's, the longest known, has 8 MB.
const MAX_HEADER_BYTES: usize = 128 << 20;

/// A place in the header of a file.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0 }
    }

    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// Takes the next `len` bytes, which are `what`.
    pub(super) fn take(&mut self, len: u64, what: &dyn Fn() -> String) -> Result<&'a [u8], GgufError> {
        self.expect(1, len, what)?;
        let taken = &self.bytes[self.offset..self.offset + len as usize];
        self.offset += len as usize;
        Ok(taken)
    }

    /// Checks that `count` things of at least `size` bytes each can follow, before memory is taken for them.
    pub(super) fn expect(
        &self,
        size: u64,
        count: u64,
        what: &dyn Fn() -> String,
    ) -> Result<usize, GgufError> {
        let expected = size.saturating_mul(count);
        let left = self.bytes.len() - self.offset;
        if expected > left as u64 {
            let (offset, actual) = (self.offset, left as u64);
            return Err(GgufError::Truncated { what: what(), offset, expected, actual });
        }
        if self.offset as u64 + expected > MAX_HEADER_BYTES as u64 {
            return Err(GgufError::HeaderSize { limit: MAX_HEADER_BYTES });
        }
        Ok(count as usize)
    }

    pub(super) fn array<const N: usize>(&mut self, what: &dyn Fn() -> String) -> Result<[u8; N], GgufError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N as u64, what)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self, what: &dyn Fn() -> String) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn u64(&mut self, what: &dyn Fn() -> String) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// Reads a text: its length in bytes, then UTF-8.
    pub(super) fn text(&mut self, what: &dyn Fn() -> String) -> Result<&'a str, GgufError> {
        let len = self.u64(what)?;
        let bytes = self.take(len, what)?;
        std::str::from_utf8(bytes).map_err(|_| GgufError::Text { what: what() })
    }
}
