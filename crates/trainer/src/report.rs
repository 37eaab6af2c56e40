//! Telling somebody how a run goes.

use std::path::Path;

use crate::{EvalRecord, StepRecord};

/// What is about to run.
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

/// Where a run stands after a step.
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

/// Watches a run. Everything it is told is in the metrics files too.
pub trait Reporter {
    /// The run begins.
    fn started(&mut self, _info: &RunInfo) {}
    /// A step is done.
    fn stepped(&mut self, _progress: &StepProgress) {}
    /// A line was added to the metrics.
    fn logged(&mut self, _record: &StepRecord) {}
    /// `done` of `total` validation records are evaluated.
    fn evaluating(&mut self, _done: usize, _total: usize) {}
    /// An evaluation is done; `is_best` when no earlier loss was lower.
    fn evaluated(&mut self, _record: &EvalRecord, _is_best: bool) {}
    /// A checkpoint was written.
    fn saved(&mut self, _checkpoint: &Path) {}
    /// Something a person should know.
    fn note(&mut self, _text: &str) {}
    /// The loop has ended, well or not.
    fn ended(&mut self) {}
}

/// Reports nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {}
