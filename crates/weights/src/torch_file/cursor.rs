//! Reading little-endian fields from bytes.

use super::TorchFileError;

/// A position in bytes that nothing can move past their end.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn take(&mut self, len: u64) -> Result<&'a [u8], TorchFileError> {
        let end = usize::try_from(len).ok().and_then(|len| self.at.checked_add(len));
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or(TorchFileError::Truncated { offset: self.bytes.len() })?;
        self.at += taken.len();
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], TorchFileError> {
        let taken = self.take(N as u64)?;
        taken.try_into().map_err(|_| TorchFileError::Truncated { offset: self.at })
    }

    pub(super) fn byte(&mut self) -> Result<u8, TorchFileError> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16, TorchFileError> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, TorchFileError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, TorchFileError> {
        self.array().map(u64::from_le_bytes)
    }

    /// Takes a text of `len` bytes.
    pub(super) fn text(&mut self, len: u64) -> Result<&'a str, TorchFileError> {
        let offset = self.at;
        std::str::from_utf8(self.take(len)?)
            .map_err(|_| TorchFileError::Malformed { expected: "UTF-8 text", offset })
    }

    /// Takes the text up to the next line feed, which is taken too.
    pub(super) fn line(&mut self) -> Result<&'a str, TorchFileError> {
        let rest = &self.bytes[self.at..];
        let len = rest.iter().position(|&byte| byte == b'\n');
        let len = len.ok_or(TorchFileError::Truncated { offset: self.bytes.len() })?;
        let line = self.text(len as u64)?;
        self.at += 1;
        Ok(line)
    }
}
