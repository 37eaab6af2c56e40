//! Linear layers and the places they sit in.

use std::fmt;

use tch::{Device, Kind, Tensor};

use crate::{Mode, ModulePath, NnError};

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
}

/// A replaceable place in a model.
#[derive(Debug)]
pub struct LinearSlot(Option<Box<dyn LinearOp>>);

impl LinearSlot {
    /// Creates a slot with a layer in it.
    pub fn new(op: Box<dyn LinearOp>) -> Self {
        Self(Some(op))
    }

    /// Returns the layer now in place.
    pub fn get(&self) -> &dyn LinearOp {
        match &self.0 {
            Some(op) => op.as_ref(),
            // `wrap` holds the slot mutably while it is empty.
            None => unreachable!("a slot is empty only inside `wrap`"),
        }
    }

    /// Replaces the layer by something built around it.
    pub fn wrap(&mut self, with: impl FnOnce(Box<dyn LinearOp>) -> Box<dyn LinearOp>) {
        self.0 = self.0.take().map(with);
    }
}

/// A model that shows its replaceable linear layers by name.
pub trait VisitLinears {
    /// Calls `visit` once for every slot, in checkpoint order.
    fn visit_linears_mut(&mut self, visit: &mut dyn FnMut(&ModulePath, &mut LinearSlot));
}
