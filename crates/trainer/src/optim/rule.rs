//! The formula of an optimiser.

use std::fmt::Debug;

use tch::Tensor;

use crate::TrainError;

/// A value that an optimiser keeps for every trained element from one step to the next; 0 at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateTensor {
    /// Prefix of its name in `optimizer.safetensors`: `exp_avg` of parameter `w` is saved as `exp_avg.w`.
    pub name: &'static str,
    /// Marks values that can be negative; 8-bit storage uses another code for those that cannot.
    pub signed: bool,
}

/// The numbers of one step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UpdateStep {
    /// Number of the step, from 1.
    pub number: i64,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Decay of the running mean of the gradient.
    pub beta1: f64,
    /// Decay of the second running mean: of the squared gradient, or as the optimiser defines it.
    pub beta2: f64,
    /// Small number that keeps a denominator away from 0.
    pub epsilon: f64,
}

/// The formula of an optimiser that treats every element by itself.
pub trait UpdateRule: Debug + Send + Sync {
    /// Returns the optimiser's name as its paper writes it.
    fn title(&self) -> &'static str;

    /// Lists the values it keeps for every trained element.
    fn state(&self) -> &'static [StateTensor];

    /// Returns β₁ and β₂ for runs that set neither.
    fn default_betas(&self) -> (f64, f64);

    /// Computes what is added to the parameters, which are already decayed, and updates `state` in place.
    ///
    /// `gradient`, the result and each tensor of `state` (in the order of [`UpdateRule::state`]) are float32, `[n]`: the
    /// elements of several parameters one after another. `gradient` may be overwritten.
    ///
    /// # Errors
    /// [`TrainError::Torch`] when libtorch refuses.
    fn update(&self, gradient: Tensor, state: &mut [Tensor], step: &UpdateStep)
    -> Result<Tensor, TrainError>;
}
