//! Quantising to blocks of 4-bit codes, dequantising, and products with them.

mod product;
mod quantize;
mod view;

use tch::{Device, Kind, TchError, Tensor};

use self::quantize::TASK;
use self::view::View;
use crate::data::{Blocks4, Scales};
use crate::memory::{FloatChunks, share};
use crate::simd::CodeTable;
use crate::{buffer_pool, gpu, reference, rows};

impl Blocks4 {
    /// Quantises `xs` (float32, bfloat16 or float16, any shape, any device) in blocks of `block_size`, a power of two in
    /// 32 ..= 4096; `nested` quantises the scales too.
    ///
    /// On the CPU the codes are bit for bit those of bitsandbytes 0.50; a mapped file is read where it lies.
    ///
    /// # Errors
    /// libtorch's, when there is not the memory.
    pub fn quantize(
        xs: &Tensor,
        table: &'static CodeTable,
        block_size: usize,
        nested: bool,
    ) -> Result<Self, TchError> {
        let xs = xs.f_detach()?.f_contiguous()?;
        let (packed, scales) = if xs.device() == Device::Cpu {
            quantize::on_cpu(&xs, table, block_size)?
        } else if let Some(done) = gpu::quantize(&xs, table, block_size)? {
            done
        } else {
            reference::quantize4(&xs, table, block_size)?
        };
        let scales = if nested { Scales::nest(&scales)? } else { Scales::Plain(scales) };
        Ok(Self::from_parts(packed, scales, table, block_size, xs.size()))
    }

    /// Returns whether every scale is a number; a NaN or an infinity in the tensor makes one that is not.
    ///
    /// # Errors
    /// libtorch's, when there is not the memory.
    pub fn is_finite(&self) -> Result<bool, TchError> {
        let finite = reference::scales(self.scales())?.f_isfinite()?.f_all()?;
        Ok(finite.f_int64_value(&[])? != 0)
    }

    /// Computes the numbers, `value * scale` in float32, rounded to `kind`, in the shape of what was quantised.
    ///
    /// # Errors
    /// [`TchError::Kind`] for a kind that is not floating point, and libtorch's when there is not the memory.
    pub fn dequantize(&self, kind: Kind) -> Result<Tensor, TchError> {
        let device = self.device();
        if device == Device::Cpu {
            let mut out = buffer_pool::empty(self.shape(), kind)?;
            self.decode(&mut out, 0)?;
            return Ok(out);
        }
        if kind == Kind::BFloat16 {
            let out = Tensor::f_empty(self.shape(), (kind, device))?;
            if gpu::dequantize(self, &out) {
                return Ok(out);
            }
        }
        reference::dequantize4(self, kind)
    }

    /// Writes the numbers of a matrix from `row` and `column` on into `tile`, `[rows, width]`, contiguous, on the same device.
    ///
    /// # Errors
    /// [`TchError::Kind`] when `tile` is not floating point, and libtorch's when there is not the memory.
    pub fn fill(&self, tile: &mut Tensor, row: usize, column: usize) -> Result<(), TchError> {
        let (inputs, width) = (self.columns(), tile.size()[1] as usize);
        if self.device() != Device::Cpu {
            // On a GPU a tile is all of the weight.
            if tile.size() == self.shape() && gpu::dequantize(self, tile) {
                return Ok(());
            }
            return rows::copy_part(&self.dequantize(tile.kind())?, tile, row, column);
        }
        if width == inputs {
            return self.decode(tile, row * inputs);
        }
        let view = View::new(self);
        share(FloatChunks::new(tile, width)?, |index, out| {
            view.decode((row + index) * inputs + column, out);
        });
        Ok(())
    }

    /// Multiplies a few rows, `xs` `[rows, in]`, by the matrix, transposed, while its codes are read: `[rows, out]`, in the
    /// kind of `xs`. `None` for more rows and for shapes that no loop or kernel takes.
    ///
    /// # Errors
    /// libtorch's, when shapes do not fit or there is not the memory.
    pub fn product(&self, xs: &Tensor) -> Result<Option<Tensor>, TchError> {
        if self.device() == Device::Cpu { product::on_cpu(self, xs) } else { gpu::product4(self, xs) }
    }

    /// Writes the numbers from `start` on into `out`, a contiguous CPU tensor.
    fn decode(&self, out: &mut Tensor, start: usize) -> Result<(), TchError> {
        let view = View::new(self);
        share(FloatChunks::new(out, TASK)?, |task, out| view.decode(start + task * TASK, out));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{hard_numbers, numbers, ways};

    #[test]
    fn codes_scales_and_numbers_equal_those_of_tensor_operations() {
        let xs = hard_numbers(Device::Cpu);
        for way in ways() {
            let ours = Blocks4::quantize(&xs, way.table, way.block_size, false).unwrap();
            let (packed, scales) = reference::quantize4(&xs, way.table, way.block_size).unwrap();
            assert_eq!(ours.packed(), &packed, "{way:?}");
            let same = reference::scales(ours.scales()).unwrap().isclose(&scales, 0.0, 0.0, true).all();
            assert!(same.int64_value(&[]) == 1, "{way:?}");
            let xs = numbers(&[33, 40], 1, Device::Cpu).unwrap();
            let ours = Blocks4::quantize(&xs, way.table, way.block_size, way.nested).unwrap();
            for kind in [Kind::Float, Kind::BFloat16] {
                let expected = reference::dequantize4(&ours, kind).unwrap();
                assert_eq!(ours.dequantize(kind).unwrap(), expected, "{way:?}");
            }
        }
    }
}
