//! Loss scaling: with float16 activations, gradients of hidden states fall below the smallest number of float16 and vanish. The
//! loss is multiplied by a factor before the backward pass, and the gradients of the parameters, which are float32, are divided
//! by it (Micikevicius et al., 2018, "Mixed Precision Training", section 3.2). The factor adapts itself as that of
//! `torch.amp.GradScaler` does; only that a step whose gradients overflow is taken anew, not left out.

use serde::{Deserialize, Serialize};
use tch::Kind;

/// The first factor, and what it changes by (`GradScaler`'s `init_scale`, `growth_factor`, `growth_interval`).
const FIRST: f64 = 65536.0;
const STEP: f64 = 2.0;
const INTERVAL: u32 = 2000;

/// The factor of the loss, and the steps since it last changed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct LossScale {
    factor: f64,
    steps: u32,
}

impl LossScale {
    /// Returns the scale that training with activations of this precision begins with; none where it needs none.
    pub(crate) fn of(activations: Kind) -> Option<Self> {
        (activations == Kind::Half).then_some(Self { factor: FIRST, steps: 0 })
    }

    pub(crate) fn factor(self) -> f64 {
        self.factor
    }

    /// Lowers the factor after gradients that overflowed.
    pub(crate) fn lower(&mut self) {
        *self = Self { factor: (self.factor / STEP).max(1.0), steps: 0 };
    }

    /// Counts a step whose gradients were finite; many of them raise the factor.
    pub(crate) fn count(&mut self) {
        self.steps += 1;
        if self.steps >= INTERVAL {
            *self = Self { factor: self.factor * STEP, steps: 0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_moves_as_that_of_grad_scaler() {
        assert_eq!(LossScale::of(Kind::BFloat16), None);
        let mut scale = LossScale::of(Kind::Half).unwrap();
        (0..1999).for_each(|_| scale.count());
        assert!((scale.factor() - 65536.0).abs() < f64::EPSILON);
        scale.count();
        assert!((scale.factor() - 131_072.0).abs() < f64::EPSILON);
        (0..40).for_each(|_| scale.lower());
        assert!((scale.factor() - 1.0).abs() < f64::EPSILON, "a step is then taken as it is");
    }
}
