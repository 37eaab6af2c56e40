//! Pieces that loops over codes of 4 and of 8 bits share.

use std::ops::Range;

use tch::{Device, Kind, TchError, Tensor};

use crate::element::Element;
use crate::memory::{Columns, elements, elements_mut, half_bits, share_out};
use crate::simd::{self, Format, Isa, MAX_ROWS};

/// Rows of inputs up to which codes are multiplied directly on a CPU.
const MOST_ROWS: i64 = 8;

/// Rows of a weight that one task takes.
const TASK_ROWS: usize = 16;

/// A contiguous CPU tensor of any floating-point kind, read as float32.
#[derive(Clone, Copy)]
pub(crate) enum Input<'a> {
    F32(&'a [f32]),
    Half(Format, &'a [u16]),
}

impl<'a> Input<'a> {
    pub(crate) fn new(tensor: &'a Tensor) -> Self {
        match tensor.kind() {
            Kind::Half => Self::Half(Format::Half, half_bits(tensor)),
            Kind::BFloat16 => Self::Half(Format::BFloat16, half_bits(tensor)),
            _ => Self::F32(elements(tensor)),
        }
    }

    /// Reads `len` numbers from `start` on; `buffer` is where they are put when they are not float32.
    pub(crate) fn read<'b>(&self, start: usize, len: usize, buffer: &'b mut [f32]) -> &'b [f32]
    where
        'a: 'b,
    {
        match self {
            Self::F32(all) => &all[start..start + len],
            Self::Half(format, all) => {
                simd::widen(Isa::best(), *format, &all[start..start + len], &mut buffer[..len]);
                &buffer[..len]
            }
        }
    }
}

/// Copies the part of `whole` from `row` and `column` on that is as large as `tile`.
pub(crate) fn copy_part(
    whole: &Tensor,
    tile: &mut Tensor,
    row: usize,
    column: usize,
) -> Result<(), TchError> {
    let (rows, width) = (tile.size()[0], tile.size()[1]);
    let part = whole.f_narrow(0, row as i64, rows)?;
    tile.f_copy_(&part.f_narrow(1, column as i64, width)?)
}

/// Returns whether a loop on a CPU multiplies so many rows.
pub(crate) fn are_few(xs: &Tensor) -> bool {
    xs.size().first().is_some_and(|&rows| rows <= MOST_ROWS)
}

/// Computes the products of a range of rows of a weight with some rows of inputs, `[rows of the weight, rows]`.
type Dots<'a, X> = dyn Fn(Range<usize>, &mut Vec<f32>, &[X], &mut [f32]) + Sync + 'a;

/// Computes the products of every row of a weight with the rows of `xs`, of `inputs` places each: `[rows, outputs]`, of a type that
/// `narrow` rounds to.
pub(crate) fn multiply<X: Sync, O: Element>(
    outputs: usize,
    inputs: usize,
    xs: &[X],
    dots: &Dots<'_, X>,
    narrow: &(impl Fn(f32) -> O + Sync),
) -> Result<Tensor, TchError> {
    let rows = xs.len() / inputs.max(1);
    let mut ys = Tensor::f_empty([rows as i64, outputs as i64], (O::KIND, Device::Cpu))?;
    let columns = Columns::new(elements_mut::<O>(&mut ys), outputs, TASK_ROWS);
    share_out(
        columns,
        || (Vec::new(), [0.0; TASK_ROWS * MAX_ROWS]),
        |(buffer, sums), _, mut columns| {
            let part = columns.start..columns.start + columns.len;
            for first in (0..rows).step_by(MAX_ROWS) {
                let count = MAX_ROWS.min(rows - first);
                let sums = &mut sums[..part.len() * count];
                dots(part.clone(), buffer, &xs[first * inputs..(first + count) * inputs], sums);
                for row in 0..count {
                    for (out, sums) in columns.row(first + row).iter_mut().zip(sums.chunks_exact(count)) {
                        *out = narrow(sums[row]);
                    }
                }
            }
        },
        drop,
    );
    Ok(ys)
}
