//! Watching a run.

use std::path::Path;

use crate::metrics::{EvalRecord, StepRecord};

/// Size of a run that is about to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunInfo {
    /// Optimiser steps already done, by the run that is resumed.
    pub step: u64,
    /// Optimiser steps of the run.
    pub total_steps: u64,
    /// Records to train on.
    pub train_records: usize,
    /// Records to evaluate on.
    pub validation_records: usize,
    /// Number of trained values.
    pub trained_elements: usize,
}

/// Progress of a run after a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepProgress {
    /// Optimiser steps done.
    pub step: u64,
    /// Optimiser steps of the run.
    pub total_steps: u64,
    /// Loss of this step; none if it had no target.
    pub loss: Option<f64>,
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Tokens per second of training since the last line of metrics.
    pub tokens_per_s: f64,
    /// Memory, as in [`StepRecord`].
    pub memory_mib: u64,
}

/// Watches a run. Everything it receives is in the metrics files too.
pub trait Reporter {
    /// Called when the run begins.
    fn started(&mut self, _info: &RunInfo) {}
    /// Called after every step.
    fn stepped(&mut self, _progress: &StepProgress) {}
    /// Called when a line was added to the metrics.
    fn logged(&mut self, _record: &StepRecord) {}
    /// Called when `done` of `total` validation records are evaluated.
    fn evaluating(&mut self, _done: usize, _total: usize) {}
    /// Called after an evaluation; `is_best` when no earlier loss was lower.
    fn evaluated(&mut self, _record: &EvalRecord, _is_best: bool) {}
    /// Called when a checkpoint was written.
    fn saved(&mut self, _checkpoint: &Path) {}
    /// Called with a message for the user.
    fn note(&mut self, _text: &str) {}
    /// Called when the loop has ended, successfully or not.
    fn ended(&mut self) {}
}

/// Reports nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Silent;

impl Reporter for Silent {}
