//! Blocks of codes on the CPU as slices, which threads share.

use std::ops::Range;

use crate::data::{Blocks4, Scales};
use crate::dynamic8;
use crate::memory::elements;
use crate::simd::{self, Codes, Isa, Out};

/// [`Scales`] as slices.
#[derive(Debug, Clone, Copy)]
enum ScaleView<'a> {
    Plain(&'a [f32]),
    Nested { codes: &'a [u8], absmax: &'a [f32], map: &'a [f32], offset: f32 },
}

/// [`Blocks4`] on the CPU.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    packed: &'a [u8],
    scales: ScaleView<'a>,
    block: usize,
    table: &'a [f32; 16],
}

impl<'a> View<'a> {
    pub(super) fn new(blocks: &'a Blocks4) -> Self {
        let scales = match blocks.scales() {
            Scales::Plain(scales) => ScaleView::Plain(elements(scales)),
            Scales::Nested { codes, absmax, map, offset } => ScaleView::Nested {
                codes: elements(codes),
                absmax: elements(absmax),
                map: elements(map),
                offset: *offset,
            },
        };
        let packed = elements(blocks.packed());
        Self { packed, scales, block: blocks.block_size(), table: blocks.table().values() }
    }

    /// Returns the scales of some blocks; `buffer` is where they are put when they have to be computed.
    fn block_scales<'b>(&self, blocks: Range<usize>, buffer: &'b mut Vec<f32>) -> &'b [f32]
    where
        'a: 'b,
    {
        let (codes, absmax, map, offset) = match self.scales {
            ScaleView::Plain(scales) => return &scales[blocks],
            ScaleView::Nested { codes, absmax, map, offset } => (codes, absmax, map, offset),
        };
        buffer.clear();
        let mut at = blocks.start;
        while at < blocks.end {
            // One scale of scales for the run up to the next multiple of 256.
            let end = blocks.end.min((at / dynamic8::BLOCK + 1) * dynamic8::BLOCK);
            let scale = absmax[at / dynamic8::BLOCK];
            buffer.extend(codes[at..end].iter().map(|&code| map[usize::from(code)] * scale + offset));
            at = end;
        }
        buffer
    }

    /// Writes the numbers from `start` on.
    pub(super) fn decode(&self, start: usize, out: Out<'_>) {
        if !start.is_multiple_of(2) {
            return self.decode_odd(start, out);
        }
        let mut buffer = Vec::new();
        let blocks = start / self.block..(start + out.len()).div_ceil(self.block);
        let scales = self.block_scales(blocks, &mut buffer);
        let packed = &self.packed[start / 2..];
        let (block, table) = (self.block, self.table);
        simd::decode(Isa::best(), Codes { packed, scales, skipped: start % block, block, table }, out);
    }

    /// Decodes as [`View::decode`] does, where the first code is the second of its byte: rows of odd length.
    fn decode_odd(&self, start: usize, out: Out<'_>) {
        let mut wide = vec![0.0; out.len() + 1];
        self.decode(start - 1, Out::F32(&mut wide));
        match out {
            Out::F32(out) => out.copy_from_slice(&wide[1..]),
            Out::Half(format, out) => {
                out.iter_mut().zip(&wide[1..]).for_each(|(out, &x)| *out = format.narrow(x));
            }
        }
    }

    /// Returns rows of `inputs` codes each.
    fn rows<'b>(&self, rows: Range<usize>, inputs: usize, buffer: &'b mut Vec<f32>) -> Codes<'b>
    where
        'a: 'b,
    {
        let blocks = inputs / self.block;
        let scales = self.block_scales(rows.start * blocks..rows.end * blocks, buffer);
        let packed = &self.packed[rows.start * inputs / 2..rows.end * inputs / 2];
        Codes { packed, scales, skipped: 0, block: self.block, table: self.table }
    }

    /// Computes the products of some rows with some rows of arranged inputs, `[rows, xs]`. [`simd::dot_fits`] has said yes.
    pub(super) fn dot(
        &self,
        rows: Range<usize>,
        inputs: usize,
        buffer: &mut Vec<f32>,
        xs: &[f32],
        out: &mut [f32],
    ) {
        for (row, out) in rows.zip(out.chunks_mut(xs.len() / simd::padded(inputs))) {
            simd::dot(Isa::best(), self.rows(row..row + 1, inputs, buffer), xs, inputs, out);
        }
    }

    /// Computes what [`View::dot`] does, for inputs in bfloat16 and `values`, the table of [`simd::bf16::table`].
    pub(super) fn dot_bf16(
        &self,
        rows: Range<usize>,
        inputs: usize,
        values: &[u16; 32],
        buffer: &mut Vec<f32>,
        xs: &[u16],
        out: &mut [f32],
    ) {
        simd::bf16::dot(self.rows(rows, inputs, buffer), values, xs, inputs, out);
    }
}
