//! Plain LoRA: `y = base(x) + scale · B A dropout(x)`.

use std::ops::Range;

use kernels::LowRank;
use nn_core::{NnError, TorchContext};
use tch::{Device, Kind, Tensor};
use torch_ext::Generator;

use crate::variant::{LORA_A, LORA_B, LayerTensors, NewLayer, Pass, RowsDelta, TensorSpec, Variant};

/// Low-rank adaptation (Hu et al., 2021, arXiv 2106.09685).
#[derive(Debug)]
pub(crate) struct Lora;

impl Variant for Lora {
    fn name(&self) -> &'static str {
        "lora"
    }

    fn config_field(&self) -> Option<&'static str> {
        None
    }

    fn tensors(&self) -> &'static [TensorSpec] {
        &[LORA_A, LORA_B]
    }

    /// Draws `A` uniform within `±1/sqrt(in)` (Kaiming with `a = sqrt 5`, PEFT's default); `B` is zero.
    fn fresh(&self, layer: &NewLayer<'_>) -> Result<Vec<Tensor>, NnError> {
        let device = layer.device;
        let bound = 1.0 / (layer.shape.in_features as f64).sqrt();
        // Drawn on the CPU, so that a run starts from the same adapter on every device.
        let mut a = Tensor::f_empty((LORA_A.shape)(layer.shape), (Kind::Float, Device::Cpu)).op("empty")?;
        let mut generator = Generator::new(Device::Cpu, layer.seed >> 1).op("generator")?;
        generator.uniform_(&mut a, -bound, bound).op("uniform_")?;
        let b = Tensor::f_zeros((LORA_B.shape)(layer.shape), (Kind::Float, device)).op("zeros")?;
        Ok(vec![a.f_to(device).op("to")?, b])
    }

    fn forward(&self, layer: &LayerTensors, pass: Pass<'_>) -> Result<Tensor, NnError> {
        let factors = LowRank { a: layer.a(), b: layer.b(), scale: layer.scale };
        Ok(kernels::add_low_rank(&pass.base_out, pass.xs, factors, pass.dropout).op("add_low_rank")?)
    }

    fn delta_rows(&self, layer: &LayerTensors, _: &Tensor, rows: Range<i64>) -> Result<RowsDelta, NnError> {
        let b = layer.b().f_narrow(0, rows.start, rows.end - rows.start).op("narrow")?;
        Ok(RowsDelta { product: product(layer.a(), &b)?, scale: layer.scale })
    }

    fn is_additive(&self) -> bool {
        true
    }
}

/// Computes `B A` in float32, whatever the kind of the factors (`peft/tuners/lora/layer.py`, `get_delta_weight`).
fn product(a: &Tensor, b: &Tensor) -> Result<Tensor, NnError> {
    let a = a.f_to_kind(Kind::Float).op("to_kind")?;
    let b = b.f_to_kind(Kind::Float).op("to_kind")?;
    Ok(b.f_matmul(&a).op("matmul")?)
}
