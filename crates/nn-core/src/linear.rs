//! Linear layers.

use std::fmt;

use tch::{Device, Kind, Tensor};

use crate::{Mode, NnError, SharedLeaves};

/// Anything that maps `[.., in_features]` to `[.., out_features]`.
///
/// `Send` but not `Sync`, because [`Tensor`] is. An adapter wraps another `LinearOp`; a quantised weight is one.
pub trait LinearOp: fmt::Debug + Send {
    /// Returns the input width.
    fn in_features(&self) -> i64;

    /// Returns the output width.
    fn out_features(&self) -> i64;

    /// Returns the device of the weights.
    fn device(&self) -> Device;

    /// Applies the layer: `[.., in_features]` to `[.., out_features]`, in the kind of `xs`.
    ///
    /// # Errors
    /// [`NnError::Torch`] when libtorch refuses the product.
    fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor, NnError>;

    /// Returns the weight this layer is equivalent to, `[out_features, in_features]`, in `kind`.
    ///
    /// # Errors
    /// [`NnError::Torch`] when libtorch cannot allocate it.
    fn dense_weight(&self, kind: Kind) -> Result<Tensor, NnError>;

    /// Makes another handle on the same weights, for another thread; of those that train, on their leaf in `leaves`.
    fn share(&self, leaves: &SharedLeaves) -> Box<dyn LinearOp>;
}
