//! `summary.json`: the resources that a finished run took, beside its result.

use std::path::Path;

use checkpoint::LoadTimes;
use serde::Serialize;
use tch::Device;
use trainer::Summary;
use weights::atomic_write;

use crate::error::io;
use crate::{FinetuneError, peak_device_mib, peak_host_mib};

/// The file in the output directory.
pub(crate) const FILE: &str = "summary.json";

/// The contents of `summary.json`. Seconds are those of the whole run, interruptions left out; memory is this process's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunSummary {
    /// Optimiser steps.
    pub steps: u64,
    /// Tokens that went through the model in training.
    pub tokens: u64,
    /// Seconds in optimiser steps; evaluation and saving are not counted.
    pub train_s: f64,
    /// Tokens for each of these seconds.
    pub tokens_per_s: f64,
    /// Seconds from the first step to the saved result.
    pub elapsed_s: f64,
    /// The last loss in the metrics.
    pub final_loss: Option<f64>,
    /// The lowest validation loss.
    pub best_val_loss: Option<f64>,
    /// Seconds of loading the base, without quantising.
    pub load_s: f64,
    /// Seconds of quantising.
    pub quantise_s: f64,
    /// Seconds in forward passes.
    pub forward_s: f64,
    /// Seconds in backward passes.
    pub backward_s: f64,
    /// Seconds in the optimiser.
    pub optimizer_s: f64,
    /// Most memory of the process, in MiB.
    pub peak_host_mib: u64,
    /// Most memory of its tensors on a GPU, in MiB; on several, the sum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_device_mib: Option<u64>,
    /// Memory of the base's weights on the device, by their shapes.
    pub base_bytes: f64,
}

impl RunSummary {
    /// Joins the trainer's figures with those of loading and with this process's memory. `base_bytes` is the memory of the
    /// base's weights on `devices`.
    ///
    /// # Errors
    /// [`FinetuneError::Extension`] when the allocator's statistics cannot be read.
    pub fn new(
        summary: &Summary,
        times: LoadTimes,
        base_bytes: f64,
        devices: &[Device],
    ) -> Result<Self, FinetuneError> {
        Ok(Self {
            steps: summary.steps,
            tokens: summary.tokens,
            train_s: summary.train_s,
            tokens_per_s: if summary.train_s > 0.0 { summary.tokens as f64 / summary.train_s } else { 0.0 },
            elapsed_s: summary.elapsed_s,
            final_loss: summary.final_loss,
            best_val_loss: summary.best.map(|best| best.eval_loss),
            load_s: times.load_s,
            quantise_s: times.quantise_s,
            forward_s: summary.phases.forward_s,
            backward_s: summary.phases.backward_s,
            optimizer_s: summary.phases.optimizer_s,
            peak_host_mib: peak_host_mib(),
            peak_device_mib: peak_device_mib(devices)?,
            base_bytes,
        })
    }

    /// Writes `summary.json` into the directory `dir`.
    ///
    /// # Errors
    /// [`FinetuneError::Weights`] when the disk refuses.
    pub fn write(&self, dir: &Path) -> Result<(), FinetuneError> {
        let path = dir.join(FILE);
        let text = serde_json::to_string_pretty(self).map_err(|error| io("write", &path)(error.into()))?;
        Ok(atomic_write(&path, |file| file.write_all(text.as_bytes()))?)
    }
}
