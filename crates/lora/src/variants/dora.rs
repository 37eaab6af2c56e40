//! `DoRA`: the direction of a weight's rows is adapted by LoRA, their length by a vector of its own.

use std::ops::Range;

use nn_core::{Mode, NnError, TorchContext};
use tch::{Kind, Tensor, no_grad};

use super::lora::Lora;
use crate::variant::{LORA_A, LORA_B, LayerTensors, NewLayer, Pass, RowsDelta, TensorSpec, Variant};

/// Weight-decomposed low-rank adaptation (Liu et al., 2024, arXiv 2402.09353), as `peft/tuners/lora/dora.py` has it:
/// `W' = m · (W + s B A) / ‖W + s B A‖`. The norm is that of each row, and is a constant to the gradient.
#[derive(Debug)]
pub(crate) struct Dora;

/// `m`, the length of each row of the adapted weight, `[out]`.
const MAGNITUDE: TensorSpec = TensorSpec::per_row("lora_magnitude_vector");

impl Variant for Dora {
    fn name(&self) -> &'static str {
        "dora"
    }

    fn config_field(&self) -> Option<&'static str> {
        Some("use_dora")
    }

    fn tensors(&self) -> &'static [TensorSpec] {
        &[LORA_A, LORA_B, MAGNITUDE]
    }

    /// Makes LoRA's factors, and the lengths of the base's rows.
    fn fresh(&self, layer: &NewLayer<'_>) -> Result<Vec<Tensor>, NnError> {
        let mut tensors = Lora.fresh(layer)?;
        tensors.push(row_norms(&(layer.weight)()?)?);
        Ok(tensors)
    }

    /// Computes `base(x) + (m/‖·‖ - 1) · W x + m/‖·‖ · s B A x`, where dropout, if it is on, comes before both `x`.
    fn forward(&self, layer: &LayerTensors, pass: Pass<'_>) -> Result<Tensor, NnError> {
        let Pass { base_out, xs, dropout, base, cache } = pass;
        let kind = base_out.kind();
        let xs = xs.f_to_kind(layer.a().kind()).op("to_kind")?;
        let xs =
            dropout.map_or_else(|| Ok(xs.shallow_clone()), |dropout| dropout.apply(&xs)).op("dropout")?;
        // Norms of the rows and the base's bias, `[2, out]`.
        let constants = cache.get(layer, || {
            no_grad(|| {
                let weight = base.dense_weight(Kind::Float)?;
                let norms = row_norms(&direction(layer, &weight, 0..base.out_features())?)?;
                let zeros = Tensor::f_zeros([1, base.in_features()], (kind, base.device())).op("zeros")?;
                let bias = base.forward(&zeros, Mode::Eval)?.f_view(-1).op("view")?;
                Ok(Tensor::f_stack(&[norms, bias.f_to_kind(Kind::Float).op("to_kind")?], 0).op("stack")?)
            })
        })?;
        let factor = layer.tensors[2].f_div(&constants.f_get(0).op("get")?).op("div")?; // [out]
        let unbiased = if dropout.is_some() {
            base.forward(&xs.f_to_kind(kind).op("to_kind")?, Mode::Eval)?
        } else {
            base_out.shallow_clone()
        };
        let unbiased = unbiased.f_sub(&constants.f_get(1).op("get")?).op("sub")?; // [.., out]
        let low = xs.f_linear(layer.a(), None::<&Tensor>).op("lora_A")?; // [.., r]
        let low = low.f_mul_scalar(layer.scale).op("mul_scalar")?;
        let delta = low.f_linear(layer.b(), None::<&Tensor>).op("lora_B")?; // [.., out]
        let change = unbiased.f_mul(&factor.f_sub_scalar(1.0).op("sub_scalar")?).op("mul")?;
        let change = change.f_addcmul(&delta, &factor).op("addcmul")?;
        Ok(base_out.f_add(&change).op("add")?.f_to_kind(kind).op("to_kind")?)
    }

    fn delta_rows(
        &self,
        layer: &LayerTensors,
        base_rows: &Tensor,
        rows: Range<i64>,
    ) -> Result<RowsDelta, NnError> {
        let magnitude = layer.tensors[2].f_narrow(0, rows.start, rows.end - rows.start).op("narrow")?;
        let direction = direction(layer, base_rows, rows)?; // [rows, in]
        let norms = row_norms(&direction)?;
        let factor = magnitude.f_to_kind(Kind::Float).op("to_kind")?.f_div(&norms).op("div")?;
        let merged = direction.f_mul(&factor.f_unsqueeze(1).op("unsqueeze")?).op("mul")?;
        let base = base_rows.f_to_kind(Kind::Float).op("to_kind")?;
        Ok(RowsDelta { product: merged.f_sub(&base).op("sub")?, scale: 1.0 })
    }
}

/// Computes rows `rows` of `W + s B A`, float32; `base_rows` are those of `W`.
fn direction(layer: &LayerTensors, base_rows: &Tensor, rows: Range<i64>) -> Result<Tensor, NnError> {
    let RowsDelta { product, scale } = Lora.delta_rows(layer, base_rows, rows)?;
    let base = base_rows.f_to_kind(Kind::Float).op("to_kind")?;
    Ok(base.f_add(&product.f_mul_scalar(scale).op("mul_scalar")?).op("add")?)
}

/// Computes the Euclidean norm of each row, `[out]`, float32, without a gradient.
fn row_norms(weight: &Tensor) -> Result<Tensor, NnError> {
    Ok(no_grad(|| weight.f_norm_scalaropt_dim(2.0, 1i64, false)).op("norm")?)
}
