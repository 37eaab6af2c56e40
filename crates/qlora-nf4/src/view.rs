//! Quantised weights on the CPU as slices, which threads share.

use std::ops::Range;

use torch_ext::dynamic8;

use crate::cpu::{self, Codes, Isa, Out};
use crate::memory::elements;
use crate::{Absmax, Tensor4, Tensor8};

/// Scales of 4-bit blocks.
#[derive(Debug, Clone, Copy)]
enum Scales<'a> {
    Plain(&'a [f32]),
    Nested { codes: &'a [u8], absmax: &'a [f32], map: &'a [f32], offset: f32 },
}

/// A [`Tensor4`] on the CPU.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View4<'a> {
    packed: &'a [u8],
    scales: Scales<'a>,
    block: usize,
    table: &'a [f32; 16],
}

impl<'a> View4<'a> {
    pub(crate) fn new(tensor: &'a Tensor4) -> Self {
        let scales = match tensor.absmax() {
            Absmax::Plain(scales) => Scales::Plain(elements(scales)),
            Absmax::Nested { codes, absmax, map, offset } => Scales::Nested {
                codes: elements(codes),
                absmax: elements(absmax),
                map: elements(map),
                offset: *offset,
            },
        };
        let config = tensor.config();
        let packed = elements(tensor.packed());
        Self { packed, scales, block: config.block_size, table: config.code.table() }
    }

    /// The scales of some blocks; `buffer` is where they are put when they have to be computed.
    fn block_scales<'b>(&self, blocks: Range<usize>, buffer: &'b mut Vec<f32>) -> &'b [f32]
    where
        'a: 'b,
    {
        let (codes, absmax, map, offset) = match self.scales {
            Scales::Plain(scales) => return &scales[blocks],
            Scales::Nested { codes, absmax, map, offset } => (codes, absmax, map, offset),
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
    pub(crate) fn decode(&self, start: usize, out: Out<'_>) {
        if !start.is_multiple_of(2) {
            return self.decode_odd(start, out);
        }
        let mut buffer = Vec::new();
        let blocks = start / self.block..(start + out.len()).div_ceil(self.block);
        let scales = self.block_scales(blocks, &mut buffer);
        let packed = &self.packed[start / 2..];
        let (block, table) = (self.block, self.table);
        cpu::decode(Isa::best(), Codes { packed, scales, skipped: start % block, block, table }, out);
    }

    /// As [`View4::decode`] where the first code is the second of its byte: rows of odd length.
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

    /// Rows of `inputs` codes each.
    fn rows<'b>(&self, rows: Range<usize>, inputs: usize, buffer: &'b mut Vec<f32>) -> Codes<'b>
    where
        'a: 'b,
    {
        let blocks = inputs / self.block;
        let scales = self.block_scales(rows.start * blocks..rows.end * blocks, buffer);
        let packed = &self.packed[rows.start * inputs / 2..rows.end * inputs / 2];
        Codes { packed, scales, skipped: 0, block: self.block, table: self.table }
    }

    /// The products of some rows with some rows of arranged inputs, `[rows, xs]`. [`cpu::dot_fits`] has said yes.
    pub(crate) fn dot(
        &self,
        rows: Range<usize>,
        inputs: usize,
        buffer: &mut Vec<f32>,
        xs: &[f32],
        out: &mut [f32],
    ) {
        for (row, out) in rows.zip(out.chunks_mut(xs.len() / inputs)) {
            cpu::dot(Isa::best(), self.rows(row..row + 1, inputs, buffer), xs, inputs, out);
        }
    }

    /// As [`View4::dot`], for inputs in bfloat16 and `values`, the table of [`cpu::bf16::table`].
    pub(crate) fn dot_bf16(
        &self,
        rows: Range<usize>,
        inputs: usize,
        values: &[u16; 32],
        buffer: &mut Vec<f32>,
        xs: &[u16],
        out: &mut [f32],
    ) {
        cpu::bf16::dot(self.rows(rows, inputs, buffer), values, xs, inputs, out);
    }

    /// The values of the codes.
    pub(crate) fn table(&self) -> &'a [f32; 16] {
        self.table
    }
}

/// A [`Tensor8`] on the CPU.
#[derive(Debug, Clone, Copy)]
pub(crate) struct View8<'a> {
    codes: &'a [i8],
    absmax: &'a [f32],
    columns: usize,
}

impl<'a> View8<'a> {
    pub(crate) fn new(tensor: &'a Tensor8) -> Self {
        Self { codes: elements(tensor.codes()), absmax: elements(tensor.absmax()), columns: tensor.columns() }
    }

    fn row(&self, row: usize) -> &'a [i8] {
        &self.codes[row * self.columns..(row + 1) * self.columns]
    }

    /// What a row's codes are multiplied with.
    fn scale(&self, row: usize) -> f32 {
        self.absmax[row] * (1.0 / 127.0)
    }

    /// Writes the numbers of `row` from `column` on.
    pub(crate) fn decode(&self, row: usize, column: usize, out: Out<'_>) {
        let codes = &self.row(row)[column..column + out.len()];
        cpu::decode8(Isa::best(), codes, self.scale(row), out);
    }

    /// The products of some rows with some rows of inputs, `[rows, xs]`.
    pub(crate) fn dot(&self, rows: Range<usize>, xs: &[f32], out: &mut [f32]) {
        for (row, out) in rows.zip(out.chunks_mut(xs.len() / self.columns)) {
            cpu::dot8(Isa::best(), self.row(row), xs, out);
            for value in out.iter_mut() {
                *value *= self.scale(row);
            }
        }
    }
}
