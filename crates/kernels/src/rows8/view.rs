//! Rows of codes on the CPU as slices, which threads share.

use std::ops::Range;

use crate::data::Rows8;
use crate::memory::elements;
use crate::simd::{self, Isa, Out};

/// [`Rows8`] on the CPU.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    codes: &'a [i8],
    absmax: &'a [f32],
    columns: usize,
}

impl<'a> View<'a> {
    pub(super) fn new(rows: &'a Rows8) -> Self {
        Self { codes: elements(rows.codes()), absmax: elements(rows.absmax()), columns: rows.columns() }
    }

    fn row(&self, row: usize) -> &'a [i8] {
        &self.codes[row * self.columns..(row + 1) * self.columns]
    }

    /// Returns the factor of a row's codes.
    fn scale(&self, row: usize) -> f32 {
        self.absmax[row] * (1.0 / 127.0)
    }

    /// Writes the numbers of `row` from `column` on.
    pub(super) fn decode(&self, row: usize, column: usize, out: Out<'_>) {
        let codes = &self.row(row)[column..column + out.len()];
        simd::decode8(Isa::best(), codes, self.scale(row), out);
    }

    /// Computes the products of some rows with some rows of inputs, `[rows, xs]`.
    pub(super) fn dot(&self, rows: Range<usize>, xs: &[f32], out: &mut [f32]) {
        let codes = &self.codes[rows.start * self.columns..rows.end * self.columns];
        simd::dot8(Isa::best(), codes, xs, self.columns, out);
        for (row, out) in rows.zip(out.chunks_mut(xs.len() / self.columns)) {
            for value in out.iter_mut() {
                *value *= self.scale(row);
            }
        }
    }
}
