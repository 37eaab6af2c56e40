//! The one place that computes what an adapter adds to a weight.

use nn_core::{NnError, TorchContext};
use tch::{Kind, Tensor};

/// `ΔW = scale · B A`, `[out, in]`, float32.
///
/// `a`: `[r, in]`; `b`: `[out, r]`, of any kind; the product is taken in float32 (`peft/tuners/lora/layer.py`,
/// `get_delta_weight`).
///
/// # Errors
/// [`NnError::Torch`] when the shapes do not fit.
pub fn delta_weight(a: &Tensor, b: &Tensor, scale: f64) -> Result<Tensor, NnError> {
    Ok(factor_product(a, b)?.f_mul_scalar(scale).op("mul_scalar")?)
}

/// `B A`, of which [`delta_weight`] is a multiple: for a caller that multiplies while it adds.
///
/// # Errors
/// As [`delta_weight`].
pub fn factor_product(a: &Tensor, b: &Tensor) -> Result<Tensor, NnError> {
    let a = a.f_to_kind(Kind::Float).op("to_kind")?;
    let b = b.f_to_kind(Kind::Float).op("to_kind")?;
    Ok(b.f_matmul(&a).op("matmul")?)
}
