//! Results of a run.

use std::path::PathBuf;

use crate::phases::Phases;
use crate::state::Best;

/// The end of a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// All steps are done and the result is saved in the output directory.
    Finished(Summary),
    /// A stop was requested.
    Stopped {
        /// Optimiser steps done.
        step: u64,
        /// The checkpoint to resume from; none if no step was done.
        checkpoint: Option<PathBuf>,
        /// Figures up to the stop.
        summary: Summary,
    },
}

/// Figures of a run, from its first step and not from the last resume.
#[derive(Debug, Clone, PartialEq)]
pub struct Summary {
    /// Optimiser steps done.
    pub steps: u64,
    /// The last loss in the metrics.
    pub final_loss: Option<f64>,
    /// Tokens that went through the model in training.
    pub tokens: u64,
    /// Steps that had no target and changed nothing.
    pub skipped_steps: u64,
    /// Seconds, interruptions left out.
    pub elapsed_s: f64,
    /// Seconds of them in optimiser steps; evaluation and saving are not counted.
    pub train_s: f64,
    /// `train_s` by phase.
    pub phases: Phases,
    /// The lowest validation loss. Its parameters are the result where `load_best_model_at_end` is set.
    pub best: Option<Best>,
}
