//! How a run trains.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::{AdamWConfig, AdamWState, LrScheduler, TrainError};

/// How a run trains, fully decided. Defaults are those of `finetune.py` in tloen/alpaca-lora, and of transformers'
/// `TrainingArguments` where that script says nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "settings, each of its own")]
pub struct TrainConfig {
    /// Records in one forward pass.
    pub micro_batch_size: NonZeroU32,
    /// Forward passes for one optimiser step.
    pub gradient_accumulation_steps: NonZeroU32,
    /// Times every record is seen, unless `max_steps` is set.
    pub num_epochs: NonZeroU32,
    /// Optimiser steps of the whole run; takes the place of `num_epochs`.
    pub max_steps: Option<NonZeroU32>,
    /// Peak learning rate, reached when warm-up ends.
    pub learning_rate: f64,
    /// Shape of the learning rate over the run.
    pub lr_scheduler: LrScheduler,
    /// Optimiser steps over which the learning rate rises from 0. May be longer than the run.
    pub warmup_steps: u32,
    /// Fraction of a weight, times the learning rate, that each step removes. Parameters with fewer than two dimensions
    /// (biases, norms) are spared, as transformers spares them.
    pub weight_decay: f64,
    /// `AdamW`'s β₁, the memory of the gradient's mean.
    pub adam_beta1: f64,
    /// `AdamW`'s β₂, the memory of the gradient's square.
    pub adam_beta2: f64,
    /// `AdamW`'s ε, added to the root of the mean square.
    pub adam_epsilon: f64,
    /// Keep `AdamW`'s state in 8 bits, in blocks of 256 (bitsandbytes' `AdamW8bit`).
    pub adam_8bit: bool,
    /// Keep `AdamW`'s state of what a GPU trains in the host's memory. Changes no number, and may differ when a run is resumed.
    pub adam_paged: bool,
    /// Global gradient norm above which gradients are scaled down; 0 turns clipping off.
    pub max_grad_norm: f64,
    /// Optimiser steps between two lines of metrics. May differ when a run is resumed.
    pub logging_steps: NonZeroU32,
    /// Optimiser steps between two evaluations. There is also one after the last step.
    pub eval_steps: NonZeroU32,
    /// Optimiser steps between two checkpoints. There is also one after the last step. May differ when a run is resumed.
    pub save_steps: NonZeroU32,
    /// Checkpoints kept, oldest deleted first; the newest and the best are never deleted. May differ when a run is resumed.
    pub save_total_limit: Option<NonZeroU32>,
    /// Seed of everything random in a step.
    pub seed: u64,
    /// With validation data: end with the parameters of the lowest validation loss instead of the last ones. Every
    /// evaluation that finds a new lowest loss then writes a checkpoint.
    pub load_best_model_at_end: bool,
    /// Wait for a GPU after every pass, so that [`crate::Phases`] are exact. Changes no number.
    pub time_phases: bool,
}

impl Default for TrainConfig {
    fn default() -> Self {
        let count = |n: u32| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        Self {
            micro_batch_size: count(4),
            gradient_accumulation_steps: count(32),
            num_epochs: count(3),
            max_steps: None,
            learning_rate: 3e-4,
            lr_scheduler: LrScheduler::Linear,
            warmup_steps: 100,
            weight_decay: 0.0,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            adam_8bit: false,
            adam_paged: false,
            max_grad_norm: 1.0,
            logging_steps: count(10),
            eval_steps: count(200),
            save_steps: count(200),
            save_total_limit: Some(count(3)),
            seed: 42,
            load_best_model_at_end: true,
            time_phases: false,
        }
    }
}

impl TrainConfig {
    /// Checks what the types leave open.
    ///
    /// # Errors
    /// [`TrainError::Setting`] for the first field out of its range.
    pub fn validate(&self) -> Result<(), TrainError> {
        let at_least_zero = |x: f64| x.is_finite() && x >= 0.0;
        let check = |fits: bool, field, actual: f64, expected| {
            if fits {
                Ok(())
            } else {
                Err(TrainError::Setting { field, actual: actual.to_string(), expected })
            }
        };
        let betas = "at least 0 and below 1";
        let positive = "a finite number of at least 0";
        check(at_least_zero(self.learning_rate), "learning_rate", self.learning_rate, positive)?;
        check(at_least_zero(self.weight_decay), "weight_decay", self.weight_decay, positive)?;
        check(at_least_zero(self.max_grad_norm), "max_grad_norm", self.max_grad_norm, positive)?;
        check((0.0..1.0).contains(&self.adam_beta1), "adam_beta1", self.adam_beta1, betas)?;
        check((0.0..1.0).contains(&self.adam_beta2), "adam_beta2", self.adam_beta2, betas)?;
        let epsilon = self.adam_epsilon;
        check(epsilon.is_finite() && epsilon > 0.0, "adam_epsilon", epsilon, "a finite number above 0")
    }

    /// The optimiser's share of the settings.
    pub fn adamw(&self) -> AdamWConfig {
        AdamWConfig {
            beta1: self.adam_beta1,
            beta2: self.adam_beta2,
            epsilon: self.adam_epsilon,
            weight_decay: self.weight_decay,
        }
    }

    /// How the optimiser keeps its state.
    pub fn adamw_state(&self) -> AdamWState {
        AdamWState { eight_bit: self.adam_8bit, paged: self.adam_paged }
    }
}
