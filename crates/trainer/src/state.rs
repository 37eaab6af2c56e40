//! Counters of a run.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::TrainError;
use crate::config::TrainConfig;
use crate::error::IoContext;
use crate::fingerprint::Fingerprint;
use crate::inputs::Inputs;
use crate::loss_scale::LossScale;
use crate::phases::Phases;
use crate::plan::StepPlan;
use crate::step::StepStats;

/// Bytes of `trainer_state.json`; real ones have a few thousand.
const MAX_BYTES: u64 = 16 << 20;

/// The file of the counters in a checkpoint.
pub(crate) const STATE_FILE: &str = "trainer_state.json";

/// The lowest validation loss so far.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Optimiser steps done when it was found.
    pub step: u64,
    /// Mean cross-entropy over the validation targets.
    pub eval_loss: f64,
}

/// The counters of a run: with the parameters and the optimiser's state, all that a resumed run needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TrainerState {
    /// Optimiser steps done.
    pub(crate) step: u64,
    /// Optimiser steps of the run.
    pub(crate) total_steps: u64,
    /// The running epoch, from 0, and the micro-batches of it that are done. Both follow from `step`; they are for readers.
    pub(crate) epoch: u64,
    pub(crate) micro_batches_done: usize,
    /// Seed of everything random in a step.
    pub(crate) seed: u64,
    /// Tokens since the start of the run.
    pub(crate) tokens: u64,
    /// Steps that had no target.
    pub(crate) skipped_steps: u64,
    /// Seconds since the start of the run, interruptions left out.
    pub(crate) elapsed_s: f64,
    /// Seconds of it in optimiser steps, in all and by phase.
    #[serde(default)]
    pub(crate) train_s: f64,
    #[serde(default)]
    pub(crate) phases: Phases,
    /// The last step that was evaluated.
    pub(crate) evaluated_step: Option<u64>,
    /// The lowest validation loss so far.
    pub(crate) best: Option<Best>,
    /// The last loss written to the metrics.
    pub(crate) logged_loss: Option<f64>,
    /// Factor of the loss; none where activations are not float16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) loss_scale: Option<LossScale>,
    /// Sums since then.
    pub(crate) window: LogWindow,
    /// Values that must be the same in a run that resumes this one.
    pub(crate) fingerprint: Fingerprint,
    /// Digests of what the run reads; empty in checkpoints of versions that had none.
    #[serde(default)]
    pub(crate) inputs: Inputs,
}

/// Sums since the last line of metrics.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LogWindow {
    /// Sum of the mean losses of the steps.
    pub(crate) loss_sum: f64,
    /// Steps that had a target.
    pub(crate) steps: u64,
    pub(crate) tokens: u64,
    /// Seconds spent in steps.
    pub(crate) seconds: f64,
    /// Gradient norm of the last step that had a target.
    pub(crate) grad_norm: Option<f64>,
}

impl LogWindow {
    /// Returns the mean loss of the steps that had a target.
    pub(crate) fn loss(&self) -> Option<f64> {
        (self.steps > 0).then(|| self.loss_sum / self.steps as f64)
    }

    pub(crate) fn tokens_per_s(&self) -> f64 {
        if self.seconds > 0.0 { self.tokens as f64 / self.seconds } else { 0.0 }
    }
}

impl TrainerState {
    pub(crate) fn new(
        config: &TrainConfig,
        plan: &StepPlan,
        fingerprint: Fingerprint,
        inputs: Inputs,
    ) -> Self {
        Self { total_steps: plan.total_steps, seed: config.seed, fingerprint, inputs, ..Self::default() }
    }

    /// Counts a finished step; `stats` is none where it had no target.
    pub(crate) fn count_step(&mut self, plan: &StepPlan, stats: Option<&StepStats>, seconds: f64) {
        self.step += 1;
        self.epoch = plan.epoch(self.step);
        self.micro_batches_done = plan.micro_batches_done(self.step);
        self.window.seconds += seconds;
        self.train_s += seconds;
        let Some(stats) = stats else {
            self.skipped_steps += 1;
            return;
        };
        self.tokens += stats.tokens as u64;
        self.phases += stats.phases;
        self.window.loss_sum += stats.loss;
        self.window.steps += 1;
        self.window.tokens += stats.tokens as u64;
        self.window.grad_norm = Some(stats.grad_norm);
    }

    pub(crate) fn save(&self, path: &Path) -> Result<(), TrainError> {
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::from).at("write", path)?;
        Ok(weights::atomic_write(path, |file| file.write_all(text.as_bytes()))?)
    }

    /// Reads the state that a checkpoint holds.
    pub(crate) fn load(checkpoint: &Path) -> Result<Self, TrainError> {
        let path = checkpoint.join(STATE_FILE);
        let text = weights::read_text(&path, MAX_BYTES).at("read", &path)?;
        serde_json::from_str(&text)
            .map_err(|source| TrainError::NotACheckpoint { path: checkpoint.to_owned(), source })
    }

    /// Adopts the length of the run that resumes this one; returns true when it differs.
    pub(crate) fn set_length(&mut self, plan: &StepPlan, checkpoint: &Path) -> Result<bool, TrainError> {
        if self.step > plan.total_steps {
            let (step, total_steps) = (self.step, plan.total_steps);
            return Err(TrainError::PastTheEnd { path: checkpoint.to_owned(), step, total_steps });
        }
        let old = std::mem::replace(&mut self.total_steps, plan.total_steps);
        Ok(old != plan.total_steps)
    }
}
