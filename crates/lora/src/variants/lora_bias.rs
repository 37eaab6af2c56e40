//! Plain LoRA with a bias on `lora_B`: `y = base(x) + scale · (B A dropout(x) + b)`.

use std::ops::Range;

use nn_core::{NnError, TorchContext};
use tch::{Kind, Tensor};

use super::lora::Lora;
use crate::variant::{LORA_A, LORA_B, LayerTensors, NewLayer, Pass, RowsDelta, TensorSpec, Variant};

/// PEFT's `lora_bias` (`peft/tuners/lora/layer.py`, `Linear.merge`).
#[derive(Debug)]
pub(crate) struct LoraBias;

/// `b`, `[out]`.
const BIAS: TensorSpec = TensorSpec::per_row("lora_B.bias");

impl Variant for LoraBias {
    fn name(&self) -> &'static str {
        "lora_bias"
    }

    fn config_field(&self) -> Option<&'static str> {
        Some("lora_bias")
    }

    fn tensors(&self) -> &'static [TensorSpec] {
        &[LORA_A, LORA_B, BIAS]
    }

    /// Makes LoRA's factors, and zeros.
    fn fresh(&self, layer: &NewLayer<'_>) -> Result<Vec<Tensor>, NnError> {
        let mut tensors = Lora.fresh(layer)?;
        let options = (Kind::Float, layer.device);
        tensors.push(Tensor::f_zeros((BIAS.shape)(layer.shape), options).op("zeros")?);
        Ok(tensors)
    }

    fn forward(&self, layer: &LayerTensors, pass: Pass<'_>) -> Result<Tensor, NnError> {
        let out = Lora.forward(layer, pass)?;
        let bias = layer.tensors[2].f_mul_scalar(layer.scale).op("mul_scalar")?;
        Ok(out.f_add(&bias.f_to_kind(out.kind()).op("to_kind")?).op("add")?)
    }

    fn delta_rows(
        &self,
        layer: &LayerTensors,
        base_rows: &Tensor,
        rows: Range<i64>,
    ) -> Result<RowsDelta, NnError> {
        Lora.delta_rows(layer, base_rows, rows)
    }

    fn delta_bias(&self, layer: &LayerTensors) -> Result<Option<Tensor>, NnError> {
        let bias = layer.tensors[2].f_to_kind(Kind::Float).op("to_kind")?;
        Ok(Some(bias.f_mul_scalar(layer.scale).op("mul_scalar")?))
    }
}
