//! LoRA of an embedding: `y = table[ids] + scale · B[ids] A`.

use std::ops::Range;

use nn_core::{NnError, TorchContext};
use tch::{Kind, Tensor};
use torch_ext::Generator;

use super::lora::Lora;
use crate::variant::{
    LORA_A, LORA_B, LayerShape, LayerTensors, NewLayer, Pass, RowsDelta, TensorSpec, Variant,
};

/// LoRA of an embedding (`peft/tuners/lora/layer.py`, `Embedding`). With the table `[V, C]` as the weight, PEFT's
/// `lora_embedding_B`, transposed, is `A`, and its `lora_embedding_A` is `B`.
#[derive(Debug)]
pub(crate) struct Embedding;

impl Variant for Embedding {
    fn name(&self) -> &'static str {
        "lora"
    }

    fn config_field(&self) -> Option<&'static str> {
        None
    }

    fn tensors(&self) -> &'static [TensorSpec] {
        const A: TensorSpec = TensorSpec { suffix: "lora_embedding_B", transposed: true, ..LORA_A };
        const B: TensorSpec = TensorSpec { suffix: "lora_embedding_A", transposed: true, ..LORA_B };
        &[A, B]
    }

    /// Draws `A` from the standard normal distribution; `B` is zero (`reset_lora_parameters`).
    fn fresh(&self, layer: &NewLayer<'_>) -> Result<Vec<Tensor>, NnError> {
        let LayerShape { r, in_features, out_features } = layer.shape;
        let cpu = (Kind::Float, tch::Device::Cpu);
        let mut a = Tensor::f_empty([r, in_features], cpu).op("empty")?;
        let mut generator = Generator::new(tch::Device::Cpu, layer.seed >> 1).op("generator")?;
        generator.normal_(&mut a, 0.0, 1.0).op("normal_")?;
        let b = Tensor::f_zeros([out_features, r], (Kind::Float, layer.device)).op("zeros")?;
        Ok(vec![a.f_to(layer.device).op("to")?, b])
    }

    /// Computes as a linear layer with the table as its weight: what a head that is tied to the embedding computes. Looking up is
    /// [`AdaptedEmbedding`](crate::embedding::AdaptedEmbedding)'s.
    fn forward(&self, layer: &LayerTensors, pass: Pass<'_>) -> Result<Tensor, NnError> {
        Lora.forward(layer, pass)
    }

    fn delta_rows(
        &self,
        layer: &LayerTensors,
        base_rows: &Tensor,
        rows: Range<i64>,
    ) -> Result<RowsDelta, NnError> {
        Lora.delta_rows(layer, base_rows, rows)
    }

    fn is_additive(&self) -> bool {
        true
    }
}
