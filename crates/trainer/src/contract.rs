//! What the loop asks of the thing it trains and of the data.

use std::error::Error;
use std::path::Path;

use nn_core::{Mode, TokenBatch};
use tch::Tensor;

/// A failure of somebody else's code.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// What is trained: an adapter on a frozen model, or a whole model.
pub trait Trainable {
    /// The leaves that require a gradient, float32, under their checkpoint names and in a fixed order. The tensors share
    /// storage with what [`Trainable::loss_sum`] computes with: the optimiser changes them in place.
    fn parameters(&self) -> Vec<(String, Tensor)>;

    /// Sum over the batch's targets of the cross-entropy: float32, one element. Differentiable unless called under
    /// `no_grad`. The loop calls it only for a batch that has targets.
    ///
    /// # Errors
    /// Whatever stops a forward pass.
    fn loss_sum(&self, batch: &TokenBatch, mode: Mode) -> Result<Tensor, BoxError>;

    /// Writes the files of the result (an adapter, a model) into `dir`, which exists. The same parameters must give the
    /// same bytes.
    ///
    /// # Errors
    /// Whatever stops the writing.
    fn save(&self, dir: &Path) -> Result<(), BoxError>;

    /// Replaces the values of the parameters, in place, by those that [`Trainable::save`] wrote to `dir`.
    ///
    /// # Errors
    /// Whatever stops the reading.
    fn restore(&self, dir: &Path) -> Result<(), BoxError>;
}

/// Records that can be put together to batches.
pub trait Dataset {
    /// Number of records.
    fn len(&self) -> usize;

    /// Whether there is no record.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The order of all records in epoch `epoch` (from 0). Must depend on the run's seed and `epoch` only, or a resumed
    /// run sees other data.
    fn epoch_order(&self, epoch: u64) -> Vec<usize>;

    /// The records `indices`, one after another.
    fn batch(&self, indices: &[usize]) -> TokenBatch;
}
