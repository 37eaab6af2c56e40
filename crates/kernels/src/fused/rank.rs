//! Products of rows with the few rows of a factor of low rank, in float32.
#![expect(clippy::inline_always, reason = "compiled for each width of vectors")]

use tch::Tensor;

use super::mask::Dropout;
use crate::element::{Float, LANES, times};
use crate::widest::widest;

/// Rows whose products with a factor are summed up at the same time.
const GROUP: usize = 8;

/// The factors of a low-rank adapter: float32, `a` `[r, in]`, `b` `[out, r]`.
#[derive(Debug, Clone, Copy)]
pub struct LowRank<'a> {
    /// `lora_A`.
    pub a: &'a Tensor,
    /// `lora_B`.
    pub b: &'a Tensor,
    /// Factor of their product.
    pub scale: f64,
}

/// Returns the width of a row that is filled up with zeros to whole lanes.
pub(super) fn padded(width: usize) -> usize {
    width.next_multiple_of(LANES)
}

/// Rows of numbers, each filled up with zeros to whole lanes.
pub(super) struct Matrix {
    numbers: Vec<f32>,
    width: usize,
}

impl Matrix {
    /// Widens rows of `width` numbers, the first of which is row `first` for dropout.
    pub(super) fn widened<T: Float>(
        from: &[T],
        width: usize,
        dropout: Option<Dropout>,
        first: usize,
    ) -> Self {
        let mut numbers = vec![0f32; from.len() / width * padded(width)];
        widen_rows(from, width, &mut numbers);
        let mut matrix = Self { numbers, width };
        matrix.masked(dropout, first);
        matrix
    }

    /// Applies dropout to rows of which the first is row `first`.
    pub(super) fn masked(&mut self, dropout: Option<Dropout>, first: usize) {
        if let Some(dropout) = dropout {
            mask_rows(&mut self.numbers, padded(self.width), dropout, first);
        }
    }

    /// Sets every number to zero.
    pub(super) fn clear(&mut self) {
        self.numbers.fill(0.0);
    }

    /// Rounds the rows to another kind.
    pub(super) fn narrowed<T: Float>(&self, to: &mut [T]) {
        narrow_rows(&self.numbers, self.width, to);
    }

    /// Adds `coefficientsᵀ` times these rows to `sums`; `coefficients` `[rows, rank]`.
    pub(super) fn add_outer_to(&self, coefficients: &[f32], sums: &mut [f32]) {
        add_outer(&self.numbers, padded(self.width), coefficients, sums);
    }
}

/// The few rows of a factor.
pub(super) struct Factor {
    rows: Matrix,
    /// The same turned, `[rank / LANES, width, LANES]`, filled up with zeros.
    turned: Vec<f32>,
    pub(super) rank: usize,
    pub(super) width: usize,
}

impl Factor {
    /// Takes `[rank, width]`.
    pub(super) fn of_rows(from: &[f32], rank: usize) -> Self {
        let width = from.len() / rank.max(1);
        Self::new(Matrix::widened(from, width, None, 0), rank)
    }

    /// Takes `[width, rank]`, turned.
    pub(super) fn of_columns(from: &[f32], width: usize, rank: usize) -> Self {
        let mut numbers = vec![0f32; rank * padded(width)];
        for (column, row) in from.chunks_exact(rank.max(1)).enumerate() {
            row.iter().enumerate().for_each(|(r, &value)| numbers[r * padded(width) + column] = value);
        }
        Self::new(Matrix { numbers, width }, rank)
    }

    fn new(rows: Matrix, rank: usize) -> Self {
        let width = rows.width;
        let mut turned = vec![0f32; padded(rank) * width];
        for (r, row) in rows.numbers.chunks_exact(padded(width)).enumerate() {
            let block = &mut turned[r / LANES * LANES * width..][..LANES * width];
            for (lanes, &value) in block.as_chunks_mut::<LANES>().0.iter_mut().zip(row) {
                lanes[r % LANES] = value;
            }
        }
        Self { rows, turned, rank, width }
    }

    /// Multiplies rows `[rows, width]` with the factor: `scale · rows · factorᵀ`, `[rows, rank]`.
    pub(super) fn products(&self, rows: &Matrix, scale: f32) -> Vec<f32> {
        let width = padded(self.width);
        let mut products = vec![0f32; rows.numbers.len() / width * self.rank];
        multiply(&rows.numbers, width, &self.turned, scale, &mut products, self.rank);
        products
    }

    /// Adds `coefficients · factor` to rows `[rows, width]`; `coefficients` `[rows, rank]`.
    pub(super) fn add_to(&self, rows: &mut Matrix, coefficients: &[f32]) {
        add_products(&mut rows.numbers, padded(self.width), &self.rows.numbers, coefficients);
    }
}

widest! {
fn widen_rows<T: Float>(from: &[T], width: usize, to: &mut [f32]) {
    for (from, to) in from.chunks_exact(width).zip(to.chunks_exact_mut(padded(width))) {
        widen_row(from, to);
    }
}
}

widest! {
fn narrow_rows<T: Float>(from: &[f32], width: usize, to: &mut [T]) {
    for (from, to) in from.chunks_exact(padded(width)).zip(to.chunks_exact_mut(width)) {
        narrow_row(from, to);
    }
}
}

widest! {
fn mask_rows(rows: &mut [f32], width: usize, dropout: Dropout, first: usize) {
    for (index, row) in rows.chunks_exact_mut(width).enumerate() {
        let mask = dropout.row(first + index);
        for (index, lanes) in row.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            let factors = mask.lanes(index * LANES);
            *lanes = times(lanes, &factors);
        }
    }
}
}

widest! {
fn add_outer(rows: &[f32], width: usize, coefficients: &[f32], sums: &mut [f32]) {
    let rank = sums.len() / width;
    for (r, sums) in sums.chunks_exact_mut(width).enumerate() {
        for (index, sums) in sums.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            for (row, coefficients) in rows.chunks_exact(width).zip(coefficients.chunks_exact(rank)) {
                add_lanes(sums, coefficients[r], lanes_at(row, index));
            }
        }
    }
}
}

widest! {
fn multiply(rows: &[f32], width: usize, turned: &[f32], scale: f32, products: &mut [f32], rank: usize) {
    let block = turned.len() / padded(rank) * LANES;
    for (rows, products) in rows.chunks(GROUP * width).zip(products.chunks_mut(GROUP * rank)) {
        for (index, block) in turned.chunks_exact(block).enumerate() {
            let factor = block.as_chunks::<LANES>().0;
            let sums = if rows.len() == GROUP * width {
                sums_of_group(rows, width, factor)
            } else {
                let mut sums = [[0f32; LANES]; GROUP];
                for (sums, row) in sums.iter_mut().zip(rows.chunks_exact(width)) {
                    for (factor, x) in factor.iter().zip(row) {
                        add_lanes(sums, *x, factor);
                    }
                }
                sums
            };
            for (products, sums) in products.chunks_exact_mut(rank).zip(sums) {
                for (product, sum) in products[index * LANES..].iter_mut().zip(sums) {
                    *product = scale * sum;
                }
            }
        }
    }
}
}

widest! {
fn add_products(rows: &mut [f32], width: usize, factor: &[f32], coefficients: &[f32]) {
    let rank = factor.len() / width;
    for (row, coefficients) in rows.chunks_exact_mut(width).zip(coefficients.chunks_exact(rank)) {
        for (index, lanes) in row.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
            for (factor, &coefficient) in factor.chunks_exact(width).zip(coefficients) {
                add_lanes(lanes, coefficient, lanes_at(factor, index));
            }
        }
    }
}
}

#[inline(always)]
fn lanes_at(row: &[f32], index: usize) -> &[f32; LANES] {
    &row.as_chunks::<LANES>().0[index]
}

#[inline(always)]
fn add_lanes(sums: &mut [f32; LANES], factor: f32, lanes: &[f32; LANES]) {
    for (sum, value) in sums.iter_mut().zip(lanes) {
        *sum += factor * value;
    }
}

/// Sums up the products of a whole group of rows with lanes of a factor, in as many registers.
#[inline(always)]
fn sums_of_group(rows: &[f32], width: usize, factor: &[[f32; LANES]]) -> [[f32; LANES]; GROUP] {
    let mut sums = [[0f32; LANES]; GROUP];
    let mut group = [&rows[..0]; GROUP];
    for (row, all) in group.iter_mut().zip(rows.chunks_exact(width)) {
        *row = &all[..factor.len()];
    }
    for column in 0..factor.len() {
        for index in 0..GROUP {
            let x = group[index][column];
            for lane in 0..LANES {
                sums[index][lane] += x * factor[column][lane];
            }
        }
    }
    sums
}

#[inline(always)]
fn widen_row<T: Float>(from: &[T], to: &mut [f32]) {
    let (lanes, rest) = from.as_chunks::<LANES>();
    let (outs, _) = to.as_chunks_mut::<LANES>();
    for (from, to) in lanes.iter().zip(outs.iter_mut()) {
        *to = T::widen_lanes(from);
    }
    if let Some(last) = outs.get_mut(lanes.len()) {
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = from.widen());
    }
}

#[inline(always)]
fn narrow_row<T: Float>(from: &[f32], to: &mut [T]) {
    let (outs, rest) = to.as_chunks_mut::<LANES>();
    let lanes = from.as_chunks::<LANES>().0;
    for (from, to) in lanes.iter().zip(outs.iter_mut()) {
        *to = T::narrow_lanes(from);
    }
    if let Some(last) = lanes.get(outs.len()) {
        rest.iter_mut().zip(last).for_each(|(to, from)| *to = T::narrow(*from));
    }
}
