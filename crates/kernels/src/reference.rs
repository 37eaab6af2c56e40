//! The same in plain tensor operations, on any device: the reference that loops and kernels are compared with.

use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, TchError, Tensor};
use torch_ext::cuda::upload;

use crate::data::{Blocks4, Rows8, Scales};
use crate::dynamic8;
use crate::simd::CodeTable;

/// The smallest divisor of a block (bitsandbytes' default backend): a block of zeros becomes codes of zero.
pub(crate) const LEAST_SCALE: f32 = 1e-38;

/// Computes codes `[ceil(n / 2), 1]` and scales of [`Blocks4::quantize`].
pub(crate) fn quantize4(
    xs: &Tensor,
    table: &CodeTable,
    block_size: usize,
) -> Result<(Tensor, Tensor), TchError> {
    let (len, block, least) = (xs.numel() as i64, block_size as i64, f64::from(LEAST_SCALE));
    let flat = xs.f_to_kind(Kind::Float)?.f_reshape([-1i64])?;
    let device = flat.device();
    let whole = len / block * block;
    let blocks = flat.f_narrow(0, 0, whole)?.f_reshape([-1, block])?;
    let absmax = blocks.f_abs()?.f_amax([1i64].as_slice(), true)?;
    let inverse = absmax.f_clamp_min(least)?.f_reciprocal()?;
    let mut scaled = vec![blocks.f_mul(&inverse)?.f_reshape([-1i64])?];
    let mut scales = vec![absmax.f_reshape([-1i64])?];
    if whole < len {
        let rest = flat.f_narrow(0, whole, len - whole)?;
        let absmax = rest.f_abs()?.f_amax([0i64].as_slice(), true)?.f_clamp_min(least)?;
        scaled.push(rest.f_div(&absmax)?);
        scales.push(absmax);
    }
    if len % 2 == 1 {
        scaled.push(Tensor::f_zeros([1], (Kind::Float, device))?);
    }
    let scaled = Tensor::f_cat(&scaled, 0)?.f_clamp(-1.0, 1.0)?;
    let bounds = Tensor::f_from_slice(&table.bounds())?.f_to(device)?;
    let order: Vec<i64> = table.order().iter().map(|&code| i64::from(code)).collect();
    let order = Tensor::f_from_slice(&order)?.f_to(device)?;
    let codes = order.f_index_select(0, &scaled.f_bucketize(&bounds, false, false)?)?.f_view([-1, 2])?;
    let packed = codes.f_select(1, 0)?.f_mul_scalar(16)?.f_add(&codes.f_select(1, 1)?)?;
    Ok((packed.f_to_kind(Kind::Uint8)?.f_unsqueeze(1)?, Tensor::f_cat(&scales, 0)?))
}

/// Computes the scale of every block, float32.
pub(crate) fn scales(scales: &Scales) -> Result<Tensor, TchError> {
    let (codes, absmax, map, offset) = match scales {
        Scales::Plain(scales) => return Ok(scales.shallow_clone()),
        Scales::Nested { codes, absmax, map, offset } => (codes, absmax, map, *offset),
    };
    let values = map.f_index_select(0, &codes.f_to_kind(Kind::Int64)?)?;
    let each = absmax.f_repeat_interleave_self_int(dynamic8::BLOCK as i64, 0, None)?;
    let each = each.f_narrow(0, 0, values.numel() as i64)?;
    values.f_mul(&each)?.f_add_scalar(f64::from(offset))
}

/// Computes the numbers of [`Blocks4::dequantize`].
pub(crate) fn dequantize4(blocks: &Blocks4, kind: Kind) -> Result<Tensor, TchError> {
    let (len, block) = (blocks.shape().iter().product::<i64>(), blocks.block_size() as i64);
    let packed = blocks.packed().f_reshape([-1i64])?.f_to_kind(Kind::Int)?;
    let first = packed.f_bitwise_right_shift_tensor_scalar(4)?;
    let codes = Tensor::f_stack(&[first, packed.f_bitwise_and(15)?], 1)?.f_view([-1i64])?;
    let values =
        values_on(blocks.device(), blocks.table())?.f_index_select(0, &codes.f_narrow(0, 0, len)?)?;
    let scales = scales(blocks.scales())?.f_repeat_interleave_self_int(block, 0, None)?;
    let values = values.f_mul(&scales.f_narrow(0, 0, len)?)?;
    values.f_view(blocks.shape())?.f_to_kind(kind)
}

/// Returns the values of a table on `device`, float32 `[16]`. On a GPU they are kept: a copy from the host for each product would
/// wait for the work before it, and could not be recorded.
fn values_on(device: Device, table: &'static CodeTable) -> Result<Tensor, TchError> {
    static KEPT: Mutex<Vec<(Device, &CodeTable, Tensor)>> = Mutex::new(Vec::new());
    if device == Device::Cpu {
        return Tensor::f_from_slice(table.values());
    }
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, _, values)) = kept.iter().find(|(at, of, _)| *at == device && std::ptr::eq(*of, table)) {
        return Ok(values.shallow_clone());
    }
    let values = upload(table.values(), device)?;
    kept.push((device, table, values.shallow_clone()));
    Ok(values)
}

/// Computes codes and scales of [`Rows8::quantize`].
pub(crate) fn quantize8(xs: &Tensor) -> Result<(Tensor, Tensor), TchError> {
    let half = xs.f_to_kind(Kind::Half)?.f_to_kind(Kind::Float)?;
    let absmax = half.f_abs()?.f_amax([1i64].as_slice(), true)?;
    let factor = absmax.f_reciprocal()?.f_mul_scalar(127.0)?;
    let codes = half.f_mul(&factor)?.f_round()?.f_nan_to_num(0.0, 0.0, 0.0)?.f_to_kind(Kind::Int8)?;
    Ok((codes, absmax.f_view([-1i64])?))
}

/// Computes the numbers of [`Rows8::dequantize`].
pub(crate) fn dequantize8(rows: &Rows8, kind: Kind) -> Result<Tensor, TchError> {
    let scales = rows.absmax().f_mul_scalar(1.0 / 127.0)?.f_unsqueeze(1)?;
    rows.codes().f_to_kind(Kind::Float)?.f_mul(&scales)?.f_to_kind(kind)
}
