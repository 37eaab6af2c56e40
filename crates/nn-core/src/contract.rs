//! Contracts between a training loop, what it trains and the data it reads.

use std::error::Error;
use std::path::Path;

use tch::{Kind, Tensor};

use crate::{Mode, SharedLeaves, TokenBatch};

/// Any failure of an implementation of one of these contracts.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The loss of a batch, computed on any thread, see [`Trainable::share`].
pub type SharedLoss = Box<dyn Fn(&TokenBatch, Mode) -> Result<Tensor, BoxError> + Send>;

/// Parameters with a loss: an adapter on a frozen model, or a whole model.
pub trait Trainable {
    /// Returns the leaves that require a gradient, float32, under their checkpoint names and in a fixed order. The tensors
    /// share storage with what [`Trainable::loss_sum`] computes with: the optimiser changes them in place.
    fn parameters(&self) -> Vec<(String, Tensor)>;

    /// Returns the sum of the cross-entropy over the batch's targets: float32, one element. Differentiable unless called
    /// under `no_grad`. The loop calls it only for a batch that has targets.
    ///
    /// # Errors
    /// Whatever stops a forward pass.
    fn loss_sum(&self, batch: &TokenBatch, mode: Mode) -> Result<Tensor, BoxError>;

    /// Returns [`Trainable::loss_sum`] for another thread, with the gradients going to `leaves` of its parameters; `None` where it
    /// cannot be computed on several threads at the same time.
    fn share(&self, _leaves: &SharedLeaves) -> Option<SharedLoss> {
        None
    }

    /// Returns the precision of the activations, in which gradients flow to the parameters: float16 asks for a loss scale.
    fn activations(&self) -> Kind {
        Kind::Float
    }

    /// Names what [`Trainable::loss_sum`] computes with, beside the parameters, and holds NaN or infinity: weights of a frozen
    /// model. Asked once a loss is neither, since it may read every weight.
    ///
    /// # Errors
    /// Whatever stops the search.
    fn frozen_not_finite(&self) -> Result<Vec<String>, BoxError> {
        Ok(Vec::new())
    }

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

/// Records that can be put together into batches.
pub trait Dataset {
    /// Returns the number of records.
    fn len(&self) -> usize;

    /// Checks for the absence of records.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a permutation of `0..len()`: the order in which epoch `epoch` (from 0) of a run with seed `seed` reads the
    /// records. Must depend on nothing else, or a resumed run sees other data.
    fn epoch_order(&self, epoch: u64, seed: u64) -> Vec<usize>;

    /// Puts the records `indices` one after another.
    fn batch(&self, indices: &[usize]) -> TokenBatch;
}
