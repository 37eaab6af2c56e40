//! Sources of a model's layers.

use tch::Tensor;

use crate::{DenseLinear, LinearOp, ModulePath, NnError};

/// Supplies the layers and tensors of a model while it is being built.
///
/// A source decides device, precision and storage: a checkpoint, random numbers, or another source whose layers it
/// quantises as they arrive.
pub trait LinearSource {
    /// Returns the tensor `name`, checked to be of `shape`.
    ///
    /// # Errors
    /// [`NnError::Shape`] when the store holds another shape, [`NnError::Source`] when it cannot give it.
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, NnError>;

    /// Returns the layer whose weight is `{path}.weight`, `[out_features, in_features]`, and whose bias is `{path}.bias` when
    /// `bias` is set. Dense unless the source overrides this.
    ///
    /// # Errors
    /// The same as of [`LinearSource::tensor`].
    fn linear(
        &self,
        path: &ModulePath,
        in_features: i64,
        out_features: i64,
        bias: bool,
    ) -> Result<Box<dyn LinearOp>, NnError> {
        let weight = self.tensor(&format!("{path}.weight"), &[out_features, in_features])?;
        let bias = self.bias(path, out_features, bias)?;
        Ok(Box::new(DenseLinear::new(weight, bias)))
    }

    /// Returns true where the linear layers of the decoder are quantised: their weights are no longer those of the original model.
    fn is_quantized(&self) -> bool {
        false
    }

    /// Returns the bias of a layer, `{path}.bias`, when `bias` says that it has one.
    ///
    /// # Errors
    /// The same as of [`LinearSource::tensor`].
    fn bias(&self, path: &ModulePath, out_features: i64, bias: bool) -> Result<Option<Tensor>, NnError> {
        bias.then(|| self.tensor(&format!("{path}.bias"), &[out_features])).transpose()
    }
}

/// Forwards what a source may override, so that a source that quantises stays one in a box.
impl<S: LinearSource + ?Sized> LinearSource for Box<S> {
    fn tensor(&self, name: &str, shape: &[i64]) -> Result<Tensor, NnError> {
        (**self).tensor(name, shape)
    }

    fn linear(
        &self,
        path: &ModulePath,
        in_features: i64,
        out_features: i64,
        bias: bool,
    ) -> Result<Box<dyn LinearOp>, NnError> {
        (**self).linear(path, in_features, out_features, bias)
    }

    fn is_quantized(&self) -> bool {
        (**self).is_quantized()
    }
}
