//! `AdamW`.

use nn_core::TorchContext;
use tch::Tensor;

use super::rule::{StateTensor, UpdateRule, UpdateStep};
use crate::TrainError;

/// `AdamW` (Loshchilov and Hutter, arXiv 1711.05101), with the formulas and the order of `torch.optim.AdamW`.
#[derive(Debug)]
pub(super) struct AdamW;

impl UpdateRule for AdamW {
    fn title(&self) -> &'static str {
        "AdamW"
    }

    fn state(&self) -> &'static [StateTensor] {
        &[StateTensor { name: "exp_avg", signed: true }, StateTensor { name: "exp_avg_sq", signed: false }]
    }

    fn default_betas(&self) -> (f64, f64) {
        (0.9, 0.999)
    }

    fn update(
        &self,
        mut gradient: Tensor,
        state: &mut [Tensor],
        step: &UpdateStep,
    ) -> Result<Tensor, TrainError> {
        let UpdateStep { number, learning_rate, beta1, beta2, epsilon } = *step;
        let correction1 = 1.0 - beta1.powf(number as f64);
        let correction2 = 1.0 - beta2.powf(number as f64);

        let _ = state[0].f_lerp_(&gradient, 1.0 - beta1).op("lerp_")?;
        let squared = gradient.f_square_().op("square_")?;
        let _ = state[1].f_lerp_(&squared, 1.0 - beta2).op("lerp_")?;

        let mut denominator = state[1].f_sqrt().op("sqrt")?;
        let _ = denominator.f_mul_scalar_(1.0 / correction2.sqrt()).op("mul_")?;
        let _ = denominator.f_add_scalar_(epsilon).op("add_")?;
        let mut update = state[0].f_mul_scalar(-learning_rate / correction1).op("mul")?;
        Ok(update.f_div_(&denominator).op("div_")?)
    }
}
