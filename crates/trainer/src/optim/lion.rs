//! Lion.

use nn_core::TorchContext;
use tch::Tensor;

use super::rule::{StateTensor, UpdateRule, UpdateStep};
use crate::TrainError;

/// Lion (Chen et al., "Symbolic Discovery of Optimization Algorithms", arXiv 2302.06675, algorithm 2): every element moves by
/// the learning rate, in the direction of an interpolation between momentum and gradient.
#[derive(Debug)]
pub(super) struct Lion;

impl UpdateRule for Lion {
    fn title(&self) -> &'static str {
        "Lion"
    }

    fn state(&self) -> &'static [StateTensor] {
        &[StateTensor { name: "exp_avg", signed: true }]
    }

    fn default_betas(&self) -> (f64, f64) {
        (0.9, 0.99)
    }

    fn update(
        &self,
        gradient: Tensor,
        state: &mut [Tensor],
        step: &UpdateStep,
    ) -> Result<Tensor, TrainError> {
        let UpdateStep { learning_rate, beta1, beta2, .. } = *step;
        let mut update = state[0].f_lerp(&gradient, 1.0 - beta1).op("lerp")?.f_sign().op("sign")?;
        let _ = state[0].f_lerp_(&gradient, 1.0 - beta2).op("lerp_")?;
        Ok(update.f_mul_scalar_(-learning_rate).op("mul_")?)
    }
}
