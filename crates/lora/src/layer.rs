//! The tensors of one adapted layer.

use std::ops::Range;

use nn_core::{ModulePath, NnError, SharedLeaves, TorchContext};
use tch::{Kind, Tensor};

use crate::error::LoraError;
use crate::initial::Initial;
use crate::key::tensor_name;
use crate::variant::{LayerTensors, RowsDelta, Variant};
use crate::variants::LORA;

/// The tensors of one adapted layer. Where the adapter is attached they share storage with the model.
#[derive(Debug)]
pub struct AdapterLayer {
    /// The layer, as the checkpoint names it.
    pub path: ModulePath,
    pub(crate) variant: &'static dyn Variant,
    pub(crate) tensors: LayerTensors,
    /// Part of the base that is missing where the factors are added to it.
    pub(crate) initial: Initial,
    /// True for the head that is changed as the embedding it is tied to: its tensors are the embedding's.
    pub(crate) is_twin: bool,
}

impl AdapterLayer {
    /// Makes a plain LoRA layer: `ΔW = scale · B A`.
    ///
    /// `a`: `[r, in]`; `b`: `[out, r]`.
    pub fn low_rank(path: ModulePath, a: Tensor, b: Tensor, scale: f64) -> Self {
        let tensors = LayerTensors { tensors: vec![a, b], scale };
        Self { path, variant: LORA, tensors, initial: Initial::Nothing, is_twin: false }
    }

    /// Returns `lora_A`, `[r, in]`; float32 where it trains.
    pub fn a(&self) -> &Tensor {
        self.tensors.a()
    }

    /// Returns `lora_B`, `[out, r]`; float32 where it trains, zero in a new adapter.
    pub fn b(&self) -> &Tensor {
        self.tensors.b()
    }

    /// Returns the factor of `B A`.
    pub fn scale(&self) -> f64 {
        self.tensors.scale
    }

    /// Lists all tensors under the names of PEFT's file. Those of an embedding are transposed there.
    pub fn named_tensors(&self) -> impl Iterator<Item = (String, &Tensor)> {
        let named = self.variant.tensors().iter().zip(&self.tensors.tensors);
        named.map(|(spec, tensor)| (tensor_name(&format!("{}.{}", self.path, spec.suffix)), tensor))
    }

    /// Lists all tensors as PEFT's file has them.
    pub(crate) fn file_tensors(&self) -> Result<Vec<(String, Tensor)>, NnError> {
        let specs = self.variant.tensors().iter();
        let tensors = specs.zip(self.named_tensors());
        tensors.map(|(spec, (name, tensor))| Ok((name, spec.turned(tensor)?))).collect()
    }

    /// Returns the shape of the weight that is adapted, `[out, in]`.
    pub fn weight_shape(&self) -> [i64; 2] {
        let dimension = |tensor: &Tensor, at: usize| tensor.size().get(at).copied().unwrap_or_default();
        [dimension(self.b(), 0), dimension(self.a(), 1)]
    }

    /// Returns the name of the adapter variant.
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

    /// Computes the adapted weight of the weight `base`, `[out, in]`, in its kind.
    ///
    /// # Errors
    /// The errors of [`AdapterLayer::delta_rows`].
    pub(crate) fn adapted(&self, base: &Tensor) -> Result<Tensor, NnError> {
        let delta = self.delta_weight(base)?.f_to_kind(base.kind()).op("to_kind")?;
        Ok(base.f_add(&delta).op("add")?)
    }

    /// Computes what is added to the bias of the layer, `[out]`, float32; `None` where the adapter has none.
    ///
    /// # Errors
    /// [`NnError::Torch`] when libtorch fails.
    pub fn delta_bias(&self) -> Result<Option<Tensor>, NnError> {
        self.variant.delta_bias(&self.tensors)
    }

    /// Returns true when the adapter changes the bias of the layer too.
    pub fn has_bias(&self) -> bool {
        self.variant.tensors().iter().any(|spec| spec.suffix == "lora_B.bias")
    }

    /// Returns the part of the base that the factors were made of.
    pub fn initial(&self) -> Initial {
        self.initial
    }

    /// Makes the layer for the base as it is on disk, of one for the base without the part that the factors began with:
    /// `s B A - s B₀ A₀`, of twice the rank. `weight`: that of the base, `[out, in]`.
    ///
    /// # Errors
    /// [`LoraError::Nn`] when libtorch fails.
    pub(crate) fn on_base(&self, weight: &Tensor) -> Result<Self, LoraError> {
        let r = self.a().size().first().copied().unwrap_or_default();
        let Some((a, b)) = self.initial.factors(weight, r, self.scale())? else {
            return Ok(self.shallow_clone());
        };
        let float = |tensor: &Tensor| tensor.f_to_device(a.device()).and_then(|it| it.f_to_kind(Kind::Float));
        let both_a = Tensor::f_cat(&[float(self.a()).op("to")?, a.shallow_clone()], 0).op("cat")?;
        let taken_b = b.f_neg().op("neg")?;
        let both_b = Tensor::f_cat(&[float(self.b()).op("to")?, taken_b], 1).op("cat")?;
        Ok(Self::low_rank(self.path.clone(), both_a, both_b, self.scale()))
    }

    /// Returns true for the head that is changed as the embedding it is tied to.
    pub fn is_twin(&self) -> bool {
        self.is_twin
    }

    /// Returns the same change for the head that is tied to this embedding.
    pub(crate) fn twin(&self, head: ModulePath) -> Self {
        Self { path: head, variant: LORA, is_twin: true, ..self.shallow_clone() }
    }

    /// Checks for the same change, by the storage of its tensors.
    pub(crate) fn is_twin_of(&self, other: &Self) -> bool {
        let pairs = self.tensors.tensors.iter().zip(&other.tensors.tensors);
        self.scale().to_bits() == other.scale().to_bits()
            && pairs.into_iter().all(|(a, b)| a.data_ptr() == b.data_ptr())
    }

    /// Clones the handles of the tensors, with another scale.
    #[must_use]
    pub fn with_scale(&self, scale: f64) -> Self {
        let tensors = LayerTensors { scale, ..self.tensors.shallow_clone() };
        Self {
            path: self.path.clone(),
            variant: self.variant,
            tensors,
            initial: self.initial,
            is_twin: self.is_twin,
        }
    }

    /// Clones the handles of the tensors, not their values.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        self.with_scale(self.scale())
    }

    /// Makes another handle on the tensors, for another thread.
    pub(crate) fn share(&self, leaves: &SharedLeaves) -> Self {
        let mut layer = self.shallow_clone();
        layer.tensors.tensors.iter_mut().for_each(|tensor| *tensor = leaves.share(tensor));
        layer
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
