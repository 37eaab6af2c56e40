//! Settings of a run.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::optim::{Optimizer, OptimizerKind, OptimizerSettings};
use crate::schedule::{LrSchedule, LrScheduler};
use crate::{TrainError, error};

/// Settings of a run. Defaults are those of `finetune.py` in tloen/alpaca-lora, and of transformers' `TrainingArguments`
/// where that script sets nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Records in one forward pass.
    pub micro_batch_size: u32,
    /// Forward passes for one optimiser step.
    pub gradient_accumulation_steps: u32,
    /// Passes over the records, unless `max_steps` is set.
    pub num_epochs: u32,
    /// Optimiser steps of the whole run; replaces `num_epochs`.
    pub max_steps: Option<u32>,
    /// Peak learning rate, reached when warm-up ends.
    pub learning_rate: f64,
    /// Shape of the learning rate over the run.
    pub lr_scheduler: LrScheduler,
    /// Optimiser steps over which the learning rate rises from 0. May be longer than the run.
    pub warmup_steps: u32,
    /// Optimiser, by its name in [`crate::OPTIMIZERS`]. Paging may differ when a run is resumed: it changes no number.
    pub optimizer: OptimizerKind,
    /// Fraction of a weight, times the learning rate, that each step removes. Parameters with fewer than two dimensions
    /// (biases, norms) are spared, as transformers spares them.
    pub weight_decay: f64,
    /// The optimiser's β₁, the decay of the gradient's running mean; the optimiser's own default when absent.
    pub adam_beta1: Option<f64>,
    /// The optimiser's β₂, the decay of its second running mean; the optimiser's own default when absent.
    pub adam_beta2: Option<f64>,
    /// `AdamW`'s ε, added to the root of the mean square.
    pub adam_epsilon: f64,
    /// Global gradient norm above which gradients are scaled down; 0 turns clipping off.
    pub max_grad_norm: f64,
    /// Optimiser steps between two lines of metrics. May differ when a run is resumed.
    pub logging_steps: u32,
    /// Optimiser steps between two evaluations. There is also one after the last step.
    pub eval_steps: u32,
    /// Optimiser steps between two checkpoints. There is also one after the last step. May differ when a run is resumed.
    pub save_steps: u32,
    /// Checkpoints kept, oldest deleted first; the newest and the best are never deleted. May differ when a run is resumed.
    pub save_total_limit: Option<u32>,
    /// Seed of the order of the records and of everything random in a step.
    pub seed: u64,
    /// With validation data: end with the parameters of the lowest validation loss instead of the last ones. Every
    /// evaluation that finds a new lowest loss then writes a checkpoint.
    pub load_best_model_at_end: bool,
    /// Wait for a GPU after every pass, so that [`crate::Phases`] are exact. Changes no number.
    pub time_phases: bool,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            micro_batch_size: 4,
            gradient_accumulation_steps: 32,
            num_epochs: 3,
            max_steps: None,
            learning_rate: 3e-4,
            lr_scheduler: LrScheduler::Linear,
            warmup_steps: 100,
            optimizer: OptimizerKind::default(),
            weight_decay: 0.0,
            adam_beta1: None,
            adam_beta2: None,
            adam_epsilon: 1e-8,
            max_grad_norm: 1.0,
            logging_steps: 10,
            eval_steps: 200,
            save_steps: 200,
            save_total_limit: Some(3),
            seed: 42,
            load_best_model_at_end: true,
            time_phases: false,
        }
    }
}

impl TrainConfig {
    /// Checks that every setting is in its range.
    ///
    /// # Errors
    /// [`TrainError::Setting`] for the first field out of its range.
    pub fn validate(&self) -> Result<(), TrainError> {
        let counts = [
            ("micro_batch_size", Some(self.micro_batch_size)),
            ("gradient_accumulation_steps", Some(self.gradient_accumulation_steps)),
            ("num_epochs", Some(self.num_epochs)),
            ("max_steps", self.max_steps),
            ("logging_steps", Some(self.logging_steps)),
            ("eval_steps", Some(self.eval_steps)),
            ("save_steps", Some(self.save_steps)),
            ("save_total_limit", self.save_total_limit),
        ];
        for (field, count) in counts {
            error::check_setting(count != Some(0), field, &0, "at least 1")?;
        }
        for (field, value) in [
            ("learning_rate", self.learning_rate),
            ("weight_decay", self.weight_decay),
            ("max_grad_norm", self.max_grad_norm),
        ] {
            let fits = value.is_finite() && value >= 0.0;
            error::check_setting(fits, field, &value, "a finite number of at least 0")?;
        }
        let OptimizerSettings { beta1, beta2, epsilon, .. } = self.optimizer_settings();
        for (field, beta) in [("adam_beta1", beta1), ("adam_beta2", beta2)] {
            error::check_setting((0.0..1.0).contains(&beta), field, &beta, "at least 0 and below 1")?;
        }
        let fits = epsilon.is_finite() && epsilon > 0.0;
        error::check_setting(fits, "adam_epsilon", &epsilon, "a finite number above 0")
    }

    /// Returns the learning rate as a function of the step, for a run of `total_steps`.
    pub(crate) fn schedule(&self, total_steps: u64) -> LrSchedule {
        LrSchedule::new(self.lr_scheduler, self.learning_rate, self.warmup_steps.into(), total_steps)
    }

    /// Returns the optimiser's hyper-parameters, its own defaults filled in.
    pub(crate) fn optimizer_settings(&self) -> OptimizerSettings {
        let (beta1, beta2) = self.optimizer.default_betas();
        OptimizerSettings {
            beta1: self.adam_beta1.unwrap_or(beta1),
            beta2: self.adam_beta2.unwrap_or(beta2),
            epsilon: self.adam_epsilon,
            weight_decay: self.weight_decay,
        }
    }
}

impl Optimizer {
    /// Creates the optimiser of a run that trains `parameters`.
    ///
    /// # Errors
    /// [`TrainError`] for parameters that cannot be optimised, or when memory cannot be allocated.
    pub fn from_config(parameters: Vec<(String, Tensor)>, config: &TrainConfig) -> Result<Self, TrainError> {
        Self::new(parameters, config.optimizer, config.optimizer_settings())
    }
}
