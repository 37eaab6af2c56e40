//! Products with a quantised weight.
//!
//! A few rows of inputs are multiplied with the codes as they are read. For more rows, a tile of the weight is
//! dequantised into a buffer that stays in the caches, multiplied by libtorch, and overwritten by the next: no more of
//! the weight is ever dequantised than a tile.

use nn_core::TorchContext;
use tch::{Device, Kind, Tensor};

use crate::scratch::Scratch;
use crate::{QuantError, QuantWeight};

/// Size of a tile in bytes.
const TILE_BYTES: usize = 4 << 20;

/// Computes `xs Wᵀ`, `[.., in]` to `[.., out]`, in the kind of `xs`.
///
/// # Errors
/// [`QuantError::Torch`] when shapes do not fit.
pub fn product(weight: &dyn QuantWeight, xs: &Tensor) -> Result<Tensor, QuantError> {
    let (inputs, outputs) = (weight.in_features(), weight.out_features());
    let mut shape = xs.size();
    if shape.len() == 2 {
        return product_of_rows(weight, xs);
    }
    if let Some(last) = shape.last_mut() {
        *last = outputs;
    }
    let rows = xs.f_reshape([-1, inputs]).op("reshape")?;
    Ok(product_of_rows(weight, &rows)?.f_view(&*shape).op("view")?)
}

/// Computes `xs Wᵀ`, `[rows, in]` to `[rows, out]`.
fn product_of_rows(weight: &dyn QuantWeight, xs: &Tensor) -> Result<Tensor, QuantError> {
    if let Some(ys) = weight.few_rows(xs)? {
        return Ok(ys);
    }
    let (inputs, outputs) = (weight.in_features(), weight.out_features());
    let (kind, rows) = (xs.f_kind().op("kind")?, xs.size()[0]);
    let step = tile_len(weight, inputs, kind, outputs);
    if step >= outputs {
        let mut tile = Scratch::take(&[outputs, inputs], kind, weight.device())?;
        weight.fill(tile.tensor(), 0, 0)?;
        return Ok(xs.f_linear(&tile, None::<&Tensor>).op("linear")?);
    }
    let ys = Tensor::f_empty([rows, outputs], (kind, xs.device())).op("empty")?;
    for start in (0..outputs).step_by(step as usize) {
        let len = step.min(outputs - start);
        let mut tile = Scratch::take(&[len, inputs], kind, weight.device())?;
        weight.fill(tile.tensor(), start as usize, 0)?;
        let part = xs.f_linear(&tile, None::<&Tensor>).op("linear")?;
        ys.f_narrow(1, start, len).op("narrow")?.f_copy_(&part).op("copy_")?;
    }
    Ok(ys)
}

/// Computes `grads W`, `[.., out]` to `[.., in]`, in the kind of `grads`: the gradient of [`product`]'s inputs.
///
/// # Errors
/// [`QuantError::Torch`] when shapes do not fit.
pub(crate) fn transposed_product(weight: &dyn QuantWeight, grads: &Tensor) -> Result<Tensor, QuantError> {
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

/// Returns how many rows (or columns) of `width` numbers make a tile: a multiple of 64; all of them on a GPU, where a product
/// wants to be large and the buffer is one for all layers.
fn tile_len(weight: &dyn QuantWeight, width: i64, kind: Kind, all: i64) -> i64 {
    if weight.device() != Device::Cpu {
        return all.max(1);
    }
    let fitting = TILE_BYTES / kind.elt_size_in_bytes() / width.max(1) as usize;
    let step = (fitting as i64 / 64 * 64).max(64);
    if all <= step + step / 2 { all.max(1) } else { step }
}
