//! Products with a quantised weight.
//!
//! A few rows of inputs are multiplied with the codes as they are read. For more rows, a tile of the weight is
//! dequantised into a buffer that stays in the caches, multiplied by libtorch, and overwritten by the next: no more of
//! the weight is ever dequantised than a tile.

use std::ops::Range;

use nn_core::TorchContext;
use tch::{Device, Kind, Tensor};
use torch_ext::parallel;

use crate::cpu::{self, Format, Isa, MAX_ROWS};
use crate::memory::{Element, Output, elements};
use crate::scratch::Scratch;
use crate::tensor4::Target;
use crate::view::{View4, View8};
use crate::{QuantError, Tensor4, Tensor8, gpu};

/// Rows of inputs up to which codes are multiplied directly on a CPU.
const FUSED_ROWS: usize = 8;

/// Size of a tile in bytes.
const TILE_BYTES: usize = 4 << 20;

/// Rows of a weight that one task takes.
const TASK_ROWS: usize = 16;

/// A quantised matrix `W`, `[out, in]`.
pub trait QuantWeight: std::fmt::Debug + Send + 'static {
    /// Input width.
    fn in_features(&self) -> i64;
    /// Output width.
    fn out_features(&self) -> i64;
    /// Where it lies.
    fn device(&self) -> Device;
    /// Another handle on the same codes.
    #[must_use]
    fn share(&self) -> Self
    where
        Self: Sized;
    /// `W` in `kind`.
    ///
    /// # Errors
    /// [`QuantError::Torch`] when there is not the memory.
    fn dequantize(&self, kind: Kind) -> Result<Tensor, QuantError>;
    /// Writes `W[row, column..column + width]` for the rows from `row` on into `tile`, `[rows, width]`, contiguous.
    ///
    /// # Errors
    /// [`QuantError::Kind`] when `tile` is not floating point.
    fn fill(&self, tile: &mut Tensor, row: usize, column: usize) -> Result<(), QuantError>;
    /// `xs Wᵀ` for few rows by a kernel that reads the codes: `[rows, in]`, contiguous, to `[rows, out]`. On the CPU `xs` is
    /// float32 or bfloat16; elsewhere it is bfloat16. The result is float32 or of the kind of `xs`. `None` where there is no
    /// kernel for this.
    ///
    /// # Errors
    /// [`QuantError::Torch`] when there is not the memory.
    fn fused(&self, xs: &Tensor) -> Result<Option<Tensor>, QuantError>;
}

/// `xs Wᵀ`: `[.., in]` to `[.., out]`, in the kind of `xs`.
///
/// # Errors
/// [`QuantError::Torch`] when shapes do not fit.
pub fn product<W: QuantWeight>(weight: &W, xs: &Tensor) -> Result<Tensor, QuantError> {
    let (kind, mut shape) = (xs.f_kind().op("kind")?, xs.size());
    let (inputs, outputs) = (weight.in_features(), weight.out_features());
    let xs = xs.f_reshape([-1, inputs]).op("reshape")?;
    let rows = xs.size()[0];
    if let Some(last) = shape.last_mut() {
        *last = outputs;
    }
    let on_cpu = weight.device() == Device::Cpu;
    if rows as usize <= if on_cpu { FUSED_ROWS } else { gpu::MAX_ROWS } {
        let wide = if on_cpu && kind != Kind::BFloat16 { Kind::Float } else { kind };
        let few = xs.f_to_kind(wide).op("to_kind")?.f_contiguous().op("contiguous")?;
        if let Some(ys) = weight.fused(&few)? {
            return Ok(ys.f_to_kind(kind).op("to_kind")?.f_view(&*shape).op("view")?);
        }
    }
    let step = tile_len(weight, inputs, kind, outputs);
    if step >= outputs {
        let mut tile = Scratch::take(&[outputs, inputs], kind, weight.device())?;
        weight.fill(tile.tensor(), 0, 0)?;
        return Ok(xs.f_linear(&tile, None::<&Tensor>).op("linear")?.f_view(&*shape).op("view")?);
    }
    let ys = Tensor::f_empty([rows, outputs], (kind, xs.device())).op("empty")?;
    for start in (0..outputs).step_by(step as usize) {
        let len = step.min(outputs - start);
        let mut tile = Scratch::take(&[len, inputs], kind, weight.device())?;
        weight.fill(tile.tensor(), start as usize, 0)?;
        let part = xs.f_linear(&tile, None::<&Tensor>).op("linear")?;
        ys.f_narrow(1, start, len).op("narrow")?.f_copy_(&part).op("copy_")?;
    }
    Ok(ys.f_view(&*shape).op("view")?)
}

/// `grads W`: `[.., out]` to `[.., in]`, in the kind of `grads`: the gradient of [`product`]'s inputs.
///
/// # Errors
/// [`QuantError::Torch`] when shapes do not fit.
pub fn transposed_product<W: QuantWeight>(weight: &W, grads: &Tensor) -> Result<Tensor, QuantError> {
    let (kind, mut shape) = (grads.f_kind().op("kind")?, grads.size());
    let (inputs, outputs) = (weight.in_features(), weight.out_features());
    let grads = grads.f_reshape([-1, outputs]).op("reshape")?;
    if let Some(last) = shape.last_mut() {
        *last = inputs;
    }
    // Tiles of columns: each gradient is one sum, as with the whole weight, and not a sum of rounded sums.
    let step = tile_len(weight, outputs, kind, inputs);
    let result = Tensor::f_empty([grads.size()[0], inputs], (kind, grads.device())).op("empty")?;
    for start in (0..inputs).step_by(step as usize) {
        let len = step.min(inputs - start);
        let mut tile = Scratch::take(&[outputs, len], kind, weight.device())?;
        weight.fill(tile.tensor(), 0, start as usize)?;
        let part = grads.f_matmul(&tile).op("matmul")?;
        if len == inputs {
            return Ok(part.f_view(&*shape).op("view")?);
        }
        result.f_narrow(1, start, len).op("narrow")?.f_copy_(&part).op("copy_")?;
    }
    Ok(result.f_view(&*shape).op("view")?)
}

/// How many rows (or columns) of `width` numbers make a tile: a multiple of 64; all of them on a GPU, where a product
/// wants to be large and the buffer is one for all layers.
fn tile_len<W: QuantWeight>(weight: &W, width: i64, kind: Kind, all: i64) -> i64 {
    if weight.device() != Device::Cpu {
        return all.max(1);
    }
    let fitting = TILE_BYTES / kind.elt_size_in_bytes() / width.max(1) as usize;
    let step = (fitting as i64 / 64 * 64).max(64);
    if all <= step + step / 2 { all.max(1) } else { step }
}

impl QuantWeight for Tensor4 {
    fn in_features(&self) -> i64 {
        self.shape()[1]
    }

    fn out_features(&self) -> i64 {
        self.shape()[0]
    }

    fn device(&self) -> Device {
        Tensor4::device(self)
    }

    fn share(&self) -> Self {
        Tensor4::share(self)
    }

    fn dequantize(&self, kind: Kind) -> Result<Tensor, QuantError> {
        Tensor4::dequantize(self, kind)
    }

    fn fill(&self, tile: &mut Tensor, row: usize, column: usize) -> Result<(), QuantError> {
        if Tensor4::device(self) != Device::Cpu {
            // On a GPU a tile is all of the weight.
            if tile.size() == self.shape() && gpu::dequantize_into(self, tile) {
                return Ok(());
            }
            return fill_elsewhere(self, tile, row, column);
        }
        let (inputs, width) = (self.shape()[1] as usize, tile.size()[1] as usize);
        if width == inputs {
            return self.decode_into(tile, row * inputs);
        }
        let view = View4::new(self);
        fill_rows(tile, &|index, out| view.decode((row + index) * inputs + column, out))
    }

    fn fused(&self, xs: &Tensor) -> Result<Option<Tensor>, QuantError> {
        if Tensor4::device(self) != Device::Cpu {
            return gpu::matvec4(self, xs);
        }
        let (inputs, outputs) = (self.shape()[1] as usize, self.shape()[0] as usize);
        let block = self.config().block_size;
        if !cpu::dot_fits(inputs, block) {
            return Ok(None);
        }
        let view = View4::new(self);
        if xs.kind() == Kind::BFloat16 && cpu::bf16::available() {
            let mut arranged = vec![0; xs.numel()];
            for (xs, out) in elements::<u16>(xs).chunks(inputs).zip(arranged.chunks_mut(inputs)) {
                cpu::bf16::arrange(xs, out);
            }
            let values = cpu::bf16::table(view.table());
            let dots = |rows: Range<usize>, buffer: &mut Vec<f32>, xs: &[u16], out: &mut [f32]| {
                view.dot_bf16(rows, inputs, &values, buffer, xs, out);
            };
            let narrow = |x| Format::BFloat16.narrow(x);
            return each_row(outputs, inputs, &arranged, &dots, (Kind::BFloat16, &narrow)).map(Some);
        }
        let isa = Isa::best();
        let xs = xs.f_to_kind(Kind::Float).op("to_kind")?;
        let mut arranged = vec![0.0; xs.numel()];
        for (xs, out) in elements::<f32>(&xs).chunks(inputs).zip(arranged.chunks_mut(inputs)) {
            cpu::arrange(isa, xs, out);
        }
        let dots = |rows: Range<usize>, buffer: &mut Vec<f32>, xs: &[f32], out: &mut [f32]| {
            view.dot(rows, inputs, buffer, xs, out);
        };
        each_row(outputs, inputs, &arranged, &dots, (Kind::Float, &|x| x)).map(Some)
    }
}

impl QuantWeight for Tensor8 {
    fn in_features(&self) -> i64 {
        self.codes().size()[1]
    }

    fn out_features(&self) -> i64 {
        self.codes().size()[0]
    }

    fn device(&self) -> Device {
        Tensor8::device(self)
    }

    fn share(&self) -> Self {
        Tensor8::share(self)
    }

    fn dequantize(&self, kind: Kind) -> Result<Tensor, QuantError> {
        Tensor8::dequantize(self, kind)
    }

    fn fill(&self, tile: &mut Tensor, row: usize, column: usize) -> Result<(), QuantError> {
        if Tensor8::device(self) != Device::Cpu {
            return fill_elsewhere(self, tile, row, column);
        }
        let view = View8::new(self);
        fill_rows(tile, &|index, out| view.decode(row + index, column, out))
    }

    fn fused(&self, xs: &Tensor) -> Result<Option<Tensor>, QuantError> {
        if Tensor8::device(self) != Device::Cpu {
            return gpu::matvec8(self, xs);
        }
        let view = View8::new(self);
        let xs = xs.f_to_kind(Kind::Float).op("to_kind")?;
        let dots =
            |rows: Range<usize>, _: &mut Vec<f32>, xs: &[f32], out: &mut [f32]| view.dot(rows, xs, out);
        let xs = elements::<f32>(&xs);
        each_row(self.rows(), self.columns(), xs, &dots, (Kind::Float, &|x| x)).map(Some)
    }
}

/// Where no tile is written by a kernel of ours: the whole weight at once, a part of it copied.
fn fill_elsewhere<W: QuantWeight>(
    weight: &W,
    tile: &mut Tensor,
    row: usize,
    column: usize,
) -> Result<(), QuantError> {
    let (rows, width) = (tile.size()[0], tile.size()[1]);
    let whole = weight.dequantize(tile.kind())?;
    let part = whole.f_narrow(0, row as i64, rows).op("narrow")?;
    tile.f_copy_(&part.f_narrow(1, column as i64, width).op("narrow")?).op("copy_")?;
    Ok(())
}

/// Has every row of `tile` written by one task.
fn fill_rows(tile: &mut Tensor, write: &(dyn Fn(usize, cpu::Out<'_>) + Sync)) -> Result<(), QuantError> {
    let (rows, width, kind) = (tile.size()[0] as usize, tile.size()[1] as usize, tile.kind());
    let target = Target::new(tile, kind)?;
    parallel(rows, |range| {
        for row in range {
            write(row, target.part(row * width, width));
        }
    });
    Ok(())
}

/// The products of a range of rows of a weight with some rows of inputs, `[rows of the weight, rows]`.
type Dots<'a, X> = dyn Fn(Range<usize>, &mut Vec<f32>, &[X], &mut [f32]) + Sync + 'a;

/// The products of every row of a weight with the rows of `xs`, `[rows, inputs]`: `[rows, outputs]`, of a kind that
/// `narrow` rounds to.
fn each_row<X: Sync, O: Element>(
    outputs: usize,
    inputs: usize,
    xs: &[X],
    dots: &Dots<'_, X>,
    (kind, narrow): (Kind, &(impl Fn(f32) -> O + Sync)),
) -> Result<Tensor, QuantError> {
    let rows = xs.len() / inputs.max(1);
    let mut ys = Tensor::f_empty([rows as i64, outputs as i64], (kind, Device::Cpu)).op("empty")?;
    let out = Output::<O>::new(&mut ys);
    parallel(outputs.div_ceil(TASK_ROWS), |tasks| {
        let mut buffer = Vec::new();
        let mut sums = [0.0; TASK_ROWS * MAX_ROWS];
        for start in tasks.map(|task| task * TASK_ROWS) {
            let part = start..outputs.min(start + TASK_ROWS);
            for first in (0..rows).step_by(MAX_ROWS) {
                let count = MAX_ROWS.min(rows - first);
                let sums = &mut sums[..part.len() * count];
                dots(part.clone(), &mut buffer, &xs[first * inputs..(first + count) * inputs], sums);
                for row in 0..count {
                    #[expect(unsafe_code, reason = "each output is of one task")]
                    // SAFETY: every task has outputs of its own.
                    let out = unsafe { out.part((first + row) * outputs + start, part.len()) };
                    for (out, sums) in out.iter_mut().zip(sums.chunks_exact(count)) {
                        *out = narrow(sums[row]);
                    }
                }
            }
        }
    });
    Ok(ys)
}
