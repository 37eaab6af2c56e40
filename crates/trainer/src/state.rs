//! What a run remembers besides its tensors.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::Tensor;

use crate::crc32c::crc32c;
use crate::error::IoContext;
use crate::{Dataset, Phases, StepPlan, StepStats, TrainConfig, TrainError};

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
    /// Seconds of it in optimiser steps, and where they went.
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
    /// What was summed up since then.
    pub(crate) window: LogWindow,
    /// What must be the same in a run that resumes this one.
    pub(crate) fingerprint: Fingerprint,
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
    /// Of the last step that had a target.
    pub(crate) grad_norm: Option<f64>,
}

impl LogWindow {
    /// Mean loss of the steps that had a target.
    pub(crate) fn loss(&self) -> Option<f64> {
        (self.steps > 0).then(|| self.loss_sum / self.steps as f64)
    }

    pub(crate) fn tokens_per_s(&self) -> f64 {
        if self.seconds > 0.0 { self.tokens as f64 / self.seconds } else { 0.0 }
    }
}

/// Name and value of all that shapes a run.
pub(crate) type Fingerprint = BTreeMap<String, Value>;

/// Settings that change what is written or where it is kept, but no number in it; and the length of a run, which may be changed on purpose.
const FREE_SETTINGS: [&str; 7] = [
    "adam_paged",
    "logging_steps",
    "save_steps",
    "save_total_limit",
    "num_epochs",
    "max_steps",
    "time_phases",
];

impl TrainerState {
    pub(crate) fn new(config: &TrainConfig, plan: &StepPlan, fingerprint: Fingerprint) -> Self {
        Self { total_steps: plan.total_steps, seed: config.seed, fingerprint, ..Self::default() }
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

    pub(crate) fn load(checkpoint: &Path) -> Result<Self, TrainError> {
        let path = checkpoint.join("trainer_state.json");
        let text = fs::read_to_string(&path).at("read", &path)?;
        serde_json::from_str(&text)
            .map_err(|source| TrainError::NotACheckpoint { path: checkpoint.to_owned(), source })
    }

    /// Takes over the length of the run that resumes this one; whether it is another.
    pub(crate) fn set_length(&mut self, plan: &StepPlan, checkpoint: &Path) -> Result<bool, TrainError> {
        if self.step > plan.total_steps {
            let (step, total_steps) = (self.step, plan.total_steps);
            return Err(TrainError::PastTheEnd { path: checkpoint.to_owned(), step, total_steps });
        }
        let old = std::mem::replace(&mut self.total_steps, plan.total_steps);
        Ok(old != plan.total_steps)
    }

    /// Compares the run that wrote `checkpoint` with the one that is to resume it.
    pub(crate) fn check_same_run(&self, expected: &Fingerprint, checkpoint: &Path) -> Result<(), TrainError> {
        let saved = &self.fingerprint;
        let names = expected.keys().chain(saved.keys());
        let differing = names.into_iter().find(|&name| expected.get(name) != saved.get(name));
        let show = |value: Option<&Value>| value.map_or("absent".to_owned(), Value::to_string);
        differing.map_or(Ok(()), |name| {
            Err(TrainError::ResumeMismatch {
                path: checkpoint.to_owned(),
                field: name.clone(),
                actual: show(expected.get(name)),
                expected: show(saved.get(name)),
            })
        })
    }
}

/// The fingerprint of a run: its settings, the size of its data and a checksum of the first records, the shapes of its
/// parameters, and what the caller says of it.
pub(crate) fn fingerprint(
    config: &TrainConfig,
    train: &dyn Dataset,
    validation: Option<&dyn Dataset>,
    parameters: &[(String, Tensor)],
    identity: &Fingerprint,
) -> Fingerprint {
    let Ok(Value::Object(mut settings)) = serde_json::to_value(config) else {
        unreachable!("a struct of numbers is a JSON object");
    };
    settings.retain(|name, _| !FREE_SETTINGS.contains(&name.as_str()));
    let mut fingerprint: Fingerprint = settings.into_iter().collect();
    fingerprint.insert("train_records".into(), train.len().into());
    fingerprint.insert("train_checksum".into(), checksum(train, config.seed).into());
    fingerprint.insert("validation_records".into(), validation.map(Dataset::len).into());
    fingerprint.extend(identity.iter().map(|(name, value)| (name.clone(), value.clone())));
    for (name, tensor) in parameters {
        fingerprint.insert(format!("parameters.{name}"), tensor.size().into());
    }
    fingerprint
}

/// Checksum of the order of the first epoch and of the tokens and labels of its first records.
fn checksum(dataset: &dyn Dataset, seed: u64) -> u32 {
    const RECORDS: usize = 16;
    let order = dataset.epoch_order(0, seed);
    let batch = dataset.batch(&order[..order.len().min(RECORDS)]);
    let order = order.iter().map(|&index| index as i64);
    let numbers = order.chain(batch.input_ids).chain(batch.labels);
    crc32c(numbers.flat_map(i64::to_le_bytes))
}
