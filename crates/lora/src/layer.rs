//! The tensors of one adapted layer.

use std::ops::Range;

use nn_core::{ModulePath, NnError, TorchContext};
use tch::{Kind, Tensor};

use crate::variant::{LayerTensors, RowsDelta, Variant};
use crate::variants::LORA;

/// The tensors of one adapted layer. Where the adapter is attached they share storage with the model.
#[derive(Debug)]
pub struct AdapterLayer {
    /// The layer, as the checkpoint names it.
    pub path: ModulePath,
    pub(crate) variant: &'static dyn Variant,
    pub(crate) tensors: LayerTensors,
}

impl AdapterLayer {
    /// Makes a plain LoRA layer: `ΔW = scale · B A`.
    ///
    /// `a`: `[r, in]`; `b`: `[out, r]`.
    pub fn low_rank(path: ModulePath, a: Tensor, b: Tensor, scale: f64) -> Self {
        Self { path, variant: LORA, tensors: LayerTensors { tensors: vec![a, b], scale } }
    }

    /// `lora_A`, `[r, in]`; float32 where it trains.
    pub fn a(&self) -> &Tensor {
        self.tensors.a()
    }

    /// `lora_B`, `[out, r]`; float32 where it trains, zero in a new adapter.
    pub fn b(&self) -> &Tensor {
        self.tensors.b()
    }

    /// Factor of `B A`.
    pub fn scale(&self) -> f64 {
        self.tensors.scale
    }

    /// Lists all tensors under the names of PEFT's file.
    pub fn named_tensors(&self) -> impl Iterator<Item = (String, &Tensor)> {
        let named = self.variant.tensors().iter().zip(&self.tensors.tensors);
        named.map(|(spec, tensor)| (tensor_name(&self.path, spec.suffix), tensor))
    }

    /// Shape of the weight that is adapted, `[out, in]`.
    pub fn weight_shape(&self) -> [i64; 2] {
        let dimension = |tensor: &Tensor, at: usize| tensor.size().get(at).copied().unwrap_or_default();
        [dimension(self.b(), 0), dimension(self.a(), 1)]
    }

    /// Name of the adapter variant.
    pub fn variant(&self) -> &'static str {
        self.variant.name()
    }

    /// Returns true when `ΔW = scale · B A` whatever the base, so that deltas may be weighted and added.
    pub fn is_additive(&self) -> bool {
        self.variant.is_additive()
    }

    /// Computes what is added to rows `rows` of the base's weight.
    ///
    /// `base_rows`: those rows, `[rows, in]`, of any kind.
    ///
    /// # Errors
    /// [`NnError::Torch`] when the shapes do not fit.
    pub fn delta_rows(&self, base_rows: &Tensor, rows: Range<i64>) -> Result<RowsDelta, NnError> {
        self.variant.delta_rows(&self.tensors, base_rows, rows)
    }

    /// Computes `ΔW`, what is added to the weight `base`, `[out, in]`; float32.
    ///
    /// # Errors
    /// The errors of [`AdapterLayer::delta_rows`].
    pub fn delta_weight(&self, base: &Tensor) -> Result<Tensor, NnError> {
        let [rows, _] = self.weight_shape();
        let delta = self.delta_rows(base, 0..rows)?;
        Ok(delta.product.f_mul_scalar(delta.scale).op("mul_scalar")?)
    }

    /// Clones the handles of the tensors, with another scale.
    #[must_use]
    pub fn with_scale(&self, scale: f64) -> Self {
        let tensors = LayerTensors { scale, ..self.tensors.shallow_clone() };
        Self { path: self.path.clone(), variant: self.variant, tensors }
    }

    /// Clones the handles of the tensors, not their values.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        self.with_scale(self.scale())
    }

    /// Copies the layer to `device` in float32, frozen.
    pub(crate) fn frozen_on(&self, device: tch::Device) -> Result<Self, NnError> {
        let mut layer = self.shallow_clone();
        for tensor in &mut layer.tensors.tensors {
            let copy = Tensor::f_empty(tensor.size(), (Kind::Float, device)).op("empty")?;
            tch::no_grad(|| copy.shallow_clone().f_copy_(tensor)).op("copy_")?;
            *tensor = copy;
        }
        Ok(layer)
    }
}

/// Returns the name in PEFT's file of the tensor `suffix` of the layer at `path`.
pub(crate) fn tensor_name(path: &ModulePath, suffix: &str) -> String {
    format!("base_model.model.{path}.{suffix}")
}
