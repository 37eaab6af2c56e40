//! Quantising to rows of 8-bit codes, dequantising, and products with them.

mod view;

use std::ops::Range;

use half::{bf16, f16};
use tch::{Device, Kind, TchError, Tensor};

use self::view::View;
use crate::data::Rows8;
use crate::memory::{Chunks, FloatChunks, elements_mut, share, share_out};
use crate::rows::{Input, are_few, copy_part, multiply};
use crate::simd::{self, Format, Isa};
use crate::{buffer_pool, gpu, reference};

/// Numbers that one task of a loop takes, about.
const TASK: usize = 1 << 14;

impl Rows8 {
    /// Quantises `xs`, `[out, in]` (float32, bfloat16 or float16, any device).
    ///
    /// # Errors
    /// libtorch's, when there is not the memory.
    pub fn quantize(xs: &Tensor) -> Result<Self, TchError> {
        let xs = xs.f_detach()?.f_contiguous()?;
        let (codes, absmax) = if xs.device() == Device::Cpu && xs.numel() > 0 {
            on_cpu(&xs)?
        } else {
            reference::quantize8(&xs)?
        };
        Ok(Self::from_parts(codes, absmax))
    }

    /// Computes the numbers, `code * absmax / 127` in float32, rounded to `kind`: `[out, in]`.
    ///
    /// # Errors
    /// [`TchError::Kind`] for a kind that is not floating point, and libtorch's when there is not the memory.
    pub fn dequantize(&self, kind: Kind) -> Result<Tensor, TchError> {
        let device = self.device();
        if device != Device::Cpu {
            let out = Tensor::f_empty(self.codes().size(), (kind, device))?;
            return if gpu::dequantize8(self, &out) { Ok(out) } else { reference::dequantize8(self, kind) };
        }
        let mut out = buffer_pool::empty(&self.codes().size(), kind)?;
        self.fill(&mut out, 0, 0)?;
        Ok(out)
    }

    /// Writes the numbers from `row` and `column` on into `tile`, `[rows, width]`, contiguous, on the same device.
    ///
    /// # Errors
    /// [`TchError::Kind`] when `tile` is not floating point, and libtorch's when there is not the memory.
    pub fn fill(&self, tile: &mut Tensor, row: usize, column: usize) -> Result<(), TchError> {
        if self.device() != Device::Cpu {
            // On a GPU a tile is all of the weight.
            if tile.size() == self.codes().size() && gpu::dequantize8(self, tile) {
                return Ok(());
            }
            return copy_part(&self.dequantize(tile.kind())?, tile, row, column);
        }
        let (view, width) = (View::new(self), tile.size()[1] as usize);
        share(FloatChunks::new(tile, width)?, |index, out| view.decode(row + index, column, out));
        Ok(())
    }

    /// Multiplies a few rows, `xs` `[rows, in]`, by the matrix, transposed, while its codes are read: `[rows, out]`, in the
    /// kind of `xs`. `None` for more rows and for shapes that no loop or kernel takes.
    ///
    /// # Errors
    /// libtorch's, when shapes do not fit or there is not the memory.
    pub fn product(&self, xs: &Tensor) -> Result<Option<Tensor>, TchError> {
        if self.device() != Device::Cpu {
            return gpu::product8(self, xs);
        }
        let kind = xs.f_kind()?;
        if !are_few(xs) || !matches!(kind, Kind::Float | Kind::BFloat16 | Kind::Half) {
            return Ok(None);
        }
        let (view, xs) = (View::new(self), xs.f_contiguous()?);
        let mut wide = vec![0.0; xs.numel()];
        let wide = Input::new(&xs).read(0, xs.numel(), &mut wide);
        let dots =
            |rows: Range<usize>, _: &mut Vec<f32>, xs: &[f32], out: &mut [f32]| view.dot(rows, xs, out);
        let (outputs, inputs) = (self.rows(), self.columns());
        match kind {
            Kind::BFloat16 => multiply(outputs, inputs, wide, &dots, &bf16::from_f32),
            Kind::Half => multiply(outputs, inputs, wide, &dots, &f16::from_f32),
            _ => multiply(outputs, inputs, wide, &dots, &|x| x),
        }
        .map(Some)
    }
}

/// Computes codes and scales of a contiguous CPU tensor.
fn on_cpu(xs: &Tensor) -> Result<(Tensor, Tensor), TchError> {
    let (rows, columns) = (xs.size()[0] as usize, xs.size()[1] as usize);
    let mut codes = Tensor::f_empty(xs.size(), (Kind::Int8, Device::Cpu))?;
    let mut absmax = Tensor::f_empty([rows as i64], (Kind::Float, Device::Cpu))?;
    let input = Input::new(xs);
    let rows_of_task = (TASK / columns.max(1)).max(1);
    let parts = (
        Chunks::new(elements_mut::<i8>(&mut codes), rows_of_task * columns),
        Chunks::new(elements_mut::<f32>(&mut absmax), rows_of_task),
    );
    share_out(
        parts,
        || (vec![0.0; columns], vec![0.0; columns]),
        |(buffer, rounded), task, (codes, scales)| {
            for (index, (codes, scale)) in codes.chunks_mut(columns).zip(scales).enumerate() {
                let row = task * rows_of_task + index;
                let xs = input.read(row * columns, columns, buffer);
                let half = |&x: &f32| Format::Half.widen(Format::Half.narrow(x));
                rounded.iter_mut().zip(xs).for_each(|(out, x)| *out = half(x));
                *scale = simd::absmax(Isa::best(), rounded);
                let factor = 1.0 / *scale * 127.0; // as torch computes `127.0 / tensor`
                // A cast of NaN is 0: a row of zeros stays one.
                codes
                    .iter_mut()
                    .zip(&*rounded)
                    .for_each(|(out, x)| *out = (x * factor).round_ties_even() as i8);
            }
        },
        drop,
    );
    Ok((codes, absmax))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_equal_those_of_tensor_operations() {
        for shape in [[3, 64], [70, 33], [1, 20000]] {
            let xs = gpu::numbers(&shape, 1, Device::Cpu).unwrap();
            let _ = xs.get(0).fill_(0.0);
            for kind in [Kind::Float, Kind::BFloat16, Kind::Half] {
                let xs = xs.to_kind(kind);
                assert_eq!(on_cpu(&xs).unwrap(), reference::quantize8(&xs).unwrap(), "{shape:?} {kind:?}");
            }
        }
    }
}
