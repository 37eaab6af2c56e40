//! `summary.json`: the resources that a finished run took, beside its result.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;
use tch::Device;
use trainer::Summary;
use weights::atomic_write;

use checkpoint::LoadTimes;
use llama_finetune::{peak_device_mib, peak_host_mib};

/// The file in the output directory.
pub(crate) const FILE: &str = "summary.json";

/// The file's contents. Seconds are those of the whole run, interruptions left out; memory is this process's.
#[derive(Debug, Serialize)]
struct Report {
    steps: u64,
    tokens: u64,
    /// In optimiser steps; evaluation and saving are not counted.
    train_s: f64,
    tokens_per_s: f64,
    /// From the first step to the saved result.
    elapsed_s: f64,
    final_loss: Option<f64>,
    best_val_loss: Option<f64>,
    load_s: f64,
    quantise_s: f64,
    forward_s: f64,
    backward_s: f64,
    optimizer_s: f64,
    peak_host_mib: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_device_mib: Option<u64>,
    /// Memory of the base's weights on the device, by their shapes.
    base_bytes: f64,
}

/// Writes the summary of a run into `dir`.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn write(
    dir: &Path,
    summary: &Summary,
    times: LoadTimes,
    base_bytes: f64,
    device: Device,
) -> Result<()> {
    let report = Report {
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
        peak_device_mib: peak_device_mib(device)?,
        base_bytes,
    };
    let text = serde_json::to_string_pretty(&report)?;
    Ok(atomic_write(&dir.join(FILE), |file| file.write_all(text.as_bytes()))?)
}
