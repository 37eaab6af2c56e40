//! Inputs and outputs of the loops.

use super::float::Format;

/// Numbers that a vector kernel decodes at once: they have one scale whatever the block size.
pub(crate) const UNIT: usize = 32;

/// Codes that the widest product takes at a time.
pub(super) const CHUNK: usize = 128;

/// Returns the places that a row of `len` inputs has once it is arranged for a product: those beyond `len` hold zeros.
pub(crate) fn padded(len: usize) -> usize {
    len.next_multiple_of(CHUNK)
}

/// 4-bit codes with the scales of their blocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Codes<'a> {
    /// Two codes a byte, the first in the upper half.
    pub(crate) packed: &'a [u8],
    /// Scale of each block; the first is that of the block which the first code lies in.
    pub(crate) scales: &'a [f32],
    /// Codes of the first block that lie before the first one here.
    pub(crate) skipped: usize,
    /// Numbers in a block, a power of two.
    pub(crate) block: usize,
    /// The value of each code.
    pub(crate) table: &'a [f32; 16],
}

impl Codes<'_> {
    /// Returns the scale of code `index`.
    #[inline]
    pub(super) fn scale(&self, index: usize) -> f32 {
        self.scales[(self.skipped + index) >> self.block.trailing_zeros()]
    }
}

/// Numbers of a format that a kernel writes.
#[derive(Debug)]
pub(crate) enum Out<'a> {
    F32(&'a mut [f32]),
    /// bfloat16 or float16, as its bits.
    Half(Format, &'a mut [u16]),
}

impl Out<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::F32(out) => out.len(),
            Self::Half(_, out) => out.len(),
        }
    }
}
