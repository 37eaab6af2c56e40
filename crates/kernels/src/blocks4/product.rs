//! Products on a CPU.

use std::ops::Range;

use half::bf16;
use tch::{Kind, TchError, Tensor};

use super::view::View;
use crate::data::Blocks4;
use crate::memory::{elements, half_bits};
use crate::rows::{are_few, multiply};
use crate::simd::{self, Isa};

/// Does what [`Blocks4::product`] promises.
pub(super) fn on_cpu(weight: &Blocks4, xs: &Tensor) -> Result<Option<Tensor>, TchError> {
    let (outputs, inputs) = (weight.shape()[0] as usize, weight.columns());
    if !are_few(xs) || !simd::dot_fits(inputs, weight.block_size()) {
        return Ok(None);
    }
    let (kind, view) = (xs.f_kind()?, View::new(weight));
    let (rows, padded) = (xs.size()[0] as usize, simd::padded(inputs));
    if kind == Kind::BFloat16 && simd::bf16::available() {
        let xs = xs.f_contiguous()?;
        let mut arranged = vec![0; rows * padded];
        for (xs, out) in half_bits(&xs).chunks(inputs).zip(arranged.chunks_mut(padded)) {
            simd::bf16::arrange(xs, out);
        }
        let values = simd::bf16::table(weight.table().values());
        let dots = |rows: Range<usize>, buffer: &mut Vec<f32>, xs: &[u16], out: &mut [f32]| {
            view.dot_bf16(rows, inputs, &values, buffer, xs, out);
        };
        return multiply(outputs, padded, &arranged, &dots, &bf16::from_f32).map(Some);
    }
    let isa = Isa::best();
    let xs = xs.f_to_kind(Kind::Float)?.f_contiguous()?;
    let mut arranged = vec![0.0; rows * padded];
    for (xs, out) in elements::<f32>(&xs).chunks(inputs).zip(arranged.chunks_mut(padded)) {
        simd::arrange(isa, xs, out);
    }
    let dots = |rows: Range<usize>, buffer: &mut Vec<f32>, xs: &[f32], out: &mut [f32]| {
        view.dot(rows, inputs, buffer, xs, out);
    };
    multiply(outputs, padded, &arranged, &dots, &|x| x)?.f_to_kind(kind).map(Some)
}
