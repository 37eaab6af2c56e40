//! The same in plain tensor operations, on any device: what kernels are compared with.

use nn_core::TorchContext;
use tch::{Kind, Tensor};
use torch_ext::dynamic8;

use crate::{Absmax, Config4, QuantError, Tensor4};

/// Codes `[ceil(n / 2), 1]` and scales of [`Tensor4::quantize`].
pub(crate) fn quantize4(weight: &Tensor, config: Config4) -> Result<(Tensor, Tensor), QuantError> {
    let (len, block) = (weight.numel() as i64, config.block_size as i64);
    let flat = weight.f_to_kind(Kind::Float).op("to_kind")?.f_reshape([-1i64]).op("reshape")?;
    let device = flat.device();
    let whole = len / block * block;
    let blocks = flat.f_narrow(0, 0, whole).op("narrow")?.f_reshape([-1, block]).op("reshape")?;
    let absmax = blocks.f_abs().op("abs")?.f_amax([1i64].as_slice(), true).op("amax")?;
    let inverse = absmax.f_clamp_min(1e-38).op("clamp_min")?.f_reciprocal().op("reciprocal")?;
    let mut scaled = vec![blocks.f_mul(&inverse).op("mul")?.f_reshape([-1i64]).op("reshape")?];
    let mut scales = vec![absmax.f_reshape([-1i64]).op("reshape")?];
    if whole < len {
        let rest = flat.f_narrow(0, whole, len - whole).op("narrow")?;
        let absmax = rest.f_abs().op("abs")?.f_amax([0i64].as_slice(), true).op("amax")?;
        let absmax = absmax.f_clamp_min(1e-38).op("clamp_min")?;
        scaled.push(rest.f_div(&absmax).op("div")?);
        scales.push(absmax);
    }
    if len % 2 == 1 {
        scaled.push(Tensor::f_zeros([1], (Kind::Float, device)).op("zeros")?);
    }
    let scaled = Tensor::f_cat(&scaled, 0).op("cat")?.f_clamp(-1.0, 1.0).op("clamp")?;
    let bounds = Tensor::f_from_slice(&config.code.bounds()).op("from_slice")?.f_to(device).op("to")?;
    let order: Vec<i64> = config.code.order().iter().map(|&code| i64::from(code)).collect();
    let order = Tensor::f_from_slice(&order).op("from_slice")?.f_to(device).op("to")?;
    let index = scaled.f_bucketize(&bounds, false, false).op("bucketize")?;
    let codes = order.f_index_select(0, &index).op("index_select")?.f_view([-1, 2]).op("view")?;
    let (first, second) = (codes.f_select(1, 0).op("select")?, codes.f_select(1, 1).op("select")?);
    let packed = first.f_mul_scalar(16).op("mul")?.f_add(&second).op("add")?;
    let packed = packed.f_to_kind(Kind::Uint8).op("to_kind")?.f_unsqueeze(1).op("unsqueeze")?;
    Ok((packed, Tensor::f_cat(&scales, 0).op("cat")?))
}

/// The scale of every block.
pub(crate) fn scales(absmax: &Absmax) -> Result<Tensor, QuantError> {
    let (codes, absmax, map, offset) = match absmax {
        Absmax::Plain(scales) => return Ok(scales.shallow_clone()),
        Absmax::Nested { codes, absmax, map, offset } => (codes, absmax, map, *offset),
    };
    let index = codes.f_to_kind(Kind::Int64).op("to_kind")?;
    let values = map.f_index_select(0, &index).op("index_select")?;
    let each =
        absmax.f_repeat_interleave_self_int(dynamic8::BLOCK as i64, 0, None).op("repeat_interleave")?;
    let each = each.f_narrow(0, 0, values.numel() as i64).op("narrow")?;
    Ok(values.f_mul(&each).op("mul")?.f_add_scalar(f64::from(offset)).op("add")?)
}

/// What [`Tensor4::dequantize`] gives.
pub(crate) fn dequantize4(weight: &Tensor4, kind: Kind) -> Result<Tensor, QuantError> {
    let (len, block) = (weight.shape().iter().product::<i64>(), weight.config().block_size as i64);
    let packed = weight.packed().f_reshape([-1i64]).op("reshape")?.f_to_kind(Kind::Int64).op("to_kind")?;
    let first = packed.f_bitwise_right_shift_tensor_scalar(4).op("shift")?;
    let second = packed.f_bitwise_and(15).op("and")?;
    let codes = Tensor::f_stack(&[first, second], 1).op("stack")?.f_view([-1i64]).op("view")?;
    let table = Tensor::f_from_slice(weight.config().code.table()).op("from_slice")?;
    let table = table.f_to(weight.device()).op("to")?;
    let values = table.f_index_select(0, &codes.f_narrow(0, 0, len).op("narrow")?).op("index_select")?;
    let scales = scales(weight.absmax())?.f_repeat_interleave_self_int(block, 0, None).op("repeat")?;
    let values = values.f_mul(&scales.f_narrow(0, 0, len).op("narrow")?).op("mul")?;
    Ok(values.f_view(weight.shape()).op("view")?.f_to_kind(kind).op("to_kind")?)
}
