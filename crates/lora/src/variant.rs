//! The interface of an adapter variant.

use std::fmt;
use std::ops::Range;

use kernels::Dropout;
use nn_core::{LinearOp, NnError, TorchContext};
use tch::{Device, Tensor};

/// A formula of adapted linear layers: LoRA itself, or one of PEFT's variants of it.
///
/// A variant owns tensors. The first two of every variant are [`LORA_A`] and [`LORA_B`].
pub(crate) trait Variant: fmt::Debug + Sync {
    /// Returns the name in settings and on command lines, such as `lora`.
    fn name(&self) -> &'static str;

    /// Returns the field of `adapter_config.json` that is `true` for this variant; `None` for plain LoRA.
    fn config_field(&self) -> Option<&'static str>;

    /// Lists the tensors of a layer, in the order of [`LayerTensors::tensors`].
    fn tensors(&self) -> &'static [TensorSpec];

    /// Draws the tensors of a new adapter: float32, on the base's device.
    ///
    /// # Errors
    /// [`NnError`] when libtorch fails.
    fn fresh(&self, layer: &NewLayer<'_>) -> Result<Vec<Tensor>, NnError>;

    /// Computes the adapted layer's output, `[.., out]`, in the kind of the base's output.
    ///
    /// # Errors
    /// [`NnError`] when libtorch fails.
    fn forward(&self, layer: &LayerTensors, pass: Pass<'_>) -> Result<Tensor, NnError>;

    /// Computes the change of some rows of the base's weight.
    ///
    /// `base_rows`: rows `rows` of the weight, `[rows, in]`, of any kind.
    ///
    /// # Errors
    /// [`NnError`] when libtorch fails.
    fn delta_rows(
        &self,
        layer: &LayerTensors,
        base_rows: &Tensor,
        rows: Range<i64>,
    ) -> Result<RowsDelta, NnError>;

    /// Computes the change of the layer's bias, `[out]`, float32.
    ///
    /// # Errors
    /// [`NnError`] when libtorch fails.
    fn delta_bias(&self, _layer: &LayerTensors) -> Result<Option<Tensor>, NnError> {
        Ok(None)
    }

    /// Returns true when a delta is `scale · B A` whatever the base: deltas may then be weighted and added.
    fn is_additive(&self) -> bool {
        false
    }
}

/// One tensor of an adapted layer.
#[derive(Debug)]
pub(crate) struct TensorSpec {
    /// Its name in PEFT's file, behind the path of the layer.
    pub(crate) suffix: &'static str,
    /// Its shape.
    pub(crate) shape: fn(LayerShape) -> Vec<i64>,
    /// True where PEFT's file has it transposed.
    pub(crate) transposed: bool,
}

impl TensorSpec {
    /// Describes one value for each output feature, `[out]`.
    pub(crate) const fn per_row(suffix: &'static str) -> Self {
        Self { suffix, shape: |layer| vec![layer.out_features], transposed: false }
    }

    /// Returns its shape in PEFT's file.
    pub(crate) fn file_shape(&self, layer: LayerShape) -> Vec<i64> {
        let mut shape = (self.shape)(layer);
        if self.transposed {
            shape.reverse();
        }
        shape
    }

    /// Brings it into the layout of PEFT's file, or out of it.
    pub(crate) fn turned(&self, tensor: &Tensor) -> Result<Tensor, NnError> {
        if !self.transposed {
            return Ok(tensor.shallow_clone());
        }
        Ok(tensor.f_detach().op("detach")?.f_tr().op("tr")?.f_contiguous().op("contiguous")?)
    }
}

/// `lora_A`, `[r, in]`.
pub(crate) const LORA_A: TensorSpec = TensorSpec {
    suffix: "lora_A.weight",
    shape: |layer| vec![layer.r, layer.in_features],
    transposed: false,
};

/// `lora_B`, `[out, r]`.
pub(crate) const LORA_B: TensorSpec = TensorSpec {
    suffix: "lora_B.weight",
    shape: |layer| vec![layer.out_features, layer.r],
    transposed: false,
};

/// Dimensions of an adapted layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayerShape {
    pub(crate) r: i64,
    pub(crate) in_features: i64,
    pub(crate) out_features: i64,
}

/// Inputs of [`Variant::fresh`].
pub(crate) struct NewLayer<'a> {
    pub(crate) shape: LayerShape,
    /// The layer's own seed.
    pub(crate) seed: u64,
    /// Device of the adapted layer.
    pub(crate) device: Device,
    /// Returns its weight without an adapter, `[out, in]`, float32.
    pub(crate) weight: &'a dyn Fn() -> Result<Tensor, NnError>,
}

/// The tensors of one adapted layer.
#[derive(Debug)]
pub(crate) struct LayerTensors {
    /// In the order of [`Variant::tensors`].
    pub(crate) tensors: Vec<Tensor>,
    /// Factor of `B A`.
    pub(crate) scale: f64,
}

impl LayerTensors {
    /// Returns `lora_A`, `[r, in]`.
    pub(crate) fn a(&self) -> &Tensor {
        &self.tensors[0]
    }

    /// Returns `lora_B`, `[out, r]`.
    pub(crate) fn b(&self) -> &Tensor {
        &self.tensors[1]
    }

    /// Returns the same tensors, not copied.
    pub(crate) fn shallow_clone(&self) -> Self {
        Self { tensors: self.tensors.iter().map(Tensor::shallow_clone).collect(), scale: self.scale }
    }
}

/// One forward pass through an adapted layer.
pub(crate) struct Pass<'a> {
    /// The base's output, `[.., out]`.
    pub(crate) base_out: Tensor,
    /// The layer's input, `[.., in]`, before dropout.
    pub(crate) xs: &'a Tensor,
    /// Dropout of the adapter's input.
    pub(crate) dropout: Option<Dropout>,
    /// The adapted layer without its adapter.
    pub(crate) base: &'a dyn LinearOp,
    /// Holds a tensor that depends on the weights alone.
    pub(crate) cache: &'a WeightCache,
}

/// A tensor that depends on weights alone, computed once while those are frozen.
#[derive(Debug, Default)]
pub(crate) struct WeightCache(std::cell::OnceCell<Tensor>);

impl WeightCache {
    /// Returns the kept tensor, or computes it; keeps it only when no tensor of `layer` can train.
    ///
    /// # Errors
    /// The error of `compute`.
    pub(crate) fn get(
        &self,
        layer: &LayerTensors,
        compute: impl FnOnce() -> Result<Tensor, NnError>,
    ) -> Result<Tensor, NnError> {
        if layer.tensors.iter().any(Tensor::requires_grad) {
            return compute();
        }
        if let Some(kept) = self.0.get() {
            return Ok(kept.shallow_clone());
        }
        let tensor = compute()?;
        Ok(self.0.get_or_init(|| tensor).shallow_clone())
    }
}

/// Change of some rows of a weight: `scale · product`.
#[derive(Debug)]
pub struct RowsDelta {
    /// `[rows, in]`, float32.
    pub product: Tensor,
    /// Factor of `product`.
    pub scale: f64,
}
