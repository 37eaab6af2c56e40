//! Replaceable places in a model.

use crate::{EmbeddingOp, LinearOp, ModulePath, SharedLeaves};
use tch::Tensor;

/// A replaceable place in a model: a layer, and whether something was built around it.
#[derive(Debug)]
pub struct Slot<Op: ?Sized> {
    op: Option<Box<Op>>,
    wrapped: bool,
}

/// Place of a linear layer.
pub type LinearSlot = Slot<dyn LinearOp>;

/// Place of an embedding.
pub type EmbeddingSlot = Slot<dyn EmbeddingOp>;

impl Slot<dyn LinearOp> {
    /// Makes another handle, as [`LinearOp::share`] does.
    #[must_use]
    pub fn share(&self, leaves: &SharedLeaves) -> Self {
        Self { op: Some(self.get().share(leaves)), wrapped: self.wrapped }
    }
}

impl Slot<dyn EmbeddingOp> {
    /// Makes another handle, as [`EmbeddingOp::share`] does.
    #[must_use]
    pub fn share(&self, leaves: &SharedLeaves) -> Self {
        Self { op: Some(self.get().share(leaves)), wrapped: self.wrapped }
    }
}

impl<Op: ?Sized> Slot<Op> {
    /// Creates a slot with a layer in it.
    pub fn new(op: Box<Op>) -> Self {
        Self { op: Some(op), wrapped: false }
    }

    /// Returns the layer now in place.
    pub fn get(&self) -> &Op {
        match &self.op {
            Some(op) => op.as_ref(),
            // `wrap` holds the slot mutably while it is empty.
            None => unreachable!("a slot is empty only inside `wrap`"),
        }
    }

    /// Replaces the layer by something built around it.
    pub fn wrap(&mut self, with: impl FnOnce(Box<Op>) -> Box<Op>) {
        self.op = self.op.take().map(with);
        self.wrapped = true;
    }

    /// Returns true when something was built around the layer: its weight alone may then not say what it computes.
    pub fn is_wrapped(&self) -> bool {
        self.wrapped
    }
}

/// A model that shows its replaceable parts by name.
pub trait VisitLinears {
    /// Calls `visit` once for every slot of a linear layer, in checkpoint order, the head last.
    fn visit_linears_mut(&mut self, visit: &mut dyn FnMut(&ModulePath, &mut LinearSlot));

    /// Calls `visit` for every slot of an embedding. A model whose head is tied to one keeps the head as it is.
    fn visit_embeddings_mut(&mut self, _visit: &mut dyn FnMut(&ModulePath, &mut EmbeddingSlot)) {}

    /// Calls `visit` for the weight of every norm, in checkpoint order.
    fn visit_norms_mut(&mut self, _visit: &mut dyn FnMut(&ModulePath, &mut Tensor)) {}

    /// Returns true where linear layers were quantised, on the disk or while they were loaded.
    fn is_quantized(&self) -> bool {
        false
    }

    /// Returns the embedding and the head whose weight is one tensor in the checkpoint.
    fn tied(&self) -> Option<(ModulePath, ModulePath)> {
        None
    }
}
