//! One fine-tuning run, and what its files say.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use toml::{Table, Value};

use super::programs::{Programs, read_json};
use super::results::{Measured, write_atomically};
use super::setting::Setting;

/// What is to be trained.
#[derive(Debug)]
pub(crate) struct Training<'a> {
    /// Of the log and of the directory.
    pub(crate) name: &'a str,
    pub(crate) size: Option<usize>,
    pub(crate) seed: u64,
    /// Settings over the profile's.
    pub(crate) over: &'a Table,
}

/// What `finetune` leaves in `summary.json`.
#[derive(Debug, Deserialize)]
struct Summary {
    train_s: f64,
    tokens_per_s: f64,
    final_loss: Option<f64>,
    best_val_loss: Option<f64>,
    load_s: f64,
    quantise_s: f64,
    forward_s: f64,
    backward_s: f64,
    optimizer_s: f64,
    peak_host_mib: f64,
    peak_device_mib: Option<f64>,
    base_bytes: f64,
}

/// A line of `metrics.jsonl`: a logged step or an evaluation.
#[derive(Debug, Deserialize)]
struct Line {
    step: f64,
    loss: Option<f64>,
    eval_loss: Option<f64>,
}

impl Training<'_> {
    /// Trains; gives the adapter's directory.
    ///
    /// # Errors
    /// With what `finetune` said.
    pub(crate) fn run(&self, setting: &Setting, programs: &Programs) -> Result<PathBuf> {
        let dir = setting.out.join("work").join(super::programs::file_name(self.name));
        let adapter = dir.join("adapter");
        let mut table = setting.profile.finetune.clone();
        table.extend(self.over.clone());
        let text = |path: &Path| Value::from(path.display().to_string());
        table.insert("base_model".to_owned(), setting.base_model.clone().into());
        table.insert("data_path".to_owned(), text(&setting.train_file(self.size)?));
        let validation = setting.data_file("validation", &setting.records.validation)?;
        table.insert("val_data_path".to_owned(), text(&validation));
        table.insert("output_dir".to_owned(), text(&adapter));
        table.insert("seed".to_owned(), i64::try_from(self.seed)?.into());
        table.insert("device".to_owned(), setting.profile.device.clone().into());
        table.insert("dtype".to_owned(), setting.profile.dtype.clone().into());
        // The last step is saved always; others are of no use here.
        table.insert("save_steps".to_owned(), 1_000_000_000.into());
        if let Some(threads) = setting.threads {
            table.insert("threads".to_owned(), i64::try_from(threads)?.into());
        }
        let file = dir.join("finetune.toml");
        write_atomically(&file, &toml::to_string(&table)?)?;
        let mut command = programs.command("finetune", ["--overwrite_output_dir", "--config"]);
        programs.run(self.name, command.arg(&file))?;
        remove_traces(&adapter)?;
        Ok(adapter)
    }
}

/// Removes the trainer's state and events, which nothing goes on from.
fn remove_traces(adapter: &Path) -> Result<()> {
    for entry in fs::read_dir(adapter).with_context(|| format!("cannot read `{}`", adapter.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && (name.starts_with("checkpoint-") || name == "runs") {
            fs::remove_dir_all(&path).with_context(|| format!("cannot remove `{}`", path.display()))?;
        }
    }
    Ok(())
}

/// Adds what a run's files say.
///
/// # Errors
/// When they are missing or say something else.
pub(crate) fn read_run(adapter: &Path, measured: &mut Measured) -> Result<()> {
    let path = adapter.join("metrics.jsonl");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let line: Line =
            serde_json::from_str(line).with_context(|| format!("cannot read `{}`", path.display()))?;
        train.extend(line.loss.map(|loss| [line.step, loss]));
        validation.extend(line.eval_loss.map(|loss| [line.step, loss]));
    }
    let summary: Summary = read_json(&adapter.join("summary.json"))?;
    measured.put("train_s", summary.train_s);
    measured.put("tokens_per_s", summary.tokens_per_s);
    measured.put_some("train_loss_final", summary.final_loss);
    measured.put_some("val_loss_final", validation.last().map(|point| point[1]));
    measured.put_some("val_loss_best", summary.best_val_loss);
    measured.put("load_s", summary.load_s + summary.quantise_s);
    measured.put("phase_load_s", summary.load_s);
    measured.put("phase_quantise_s", summary.quantise_s);
    measured.put("phase_forward_s", summary.forward_s);
    measured.put("phase_backward_s", summary.backward_s);
    measured.put("phase_optimizer_s", summary.optimizer_s);
    measured.put("peak_host_mib", summary.peak_host_mib);
    measured.put_some("peak_device_mib", summary.peak_device_mib);
    measured.put("base_bytes", summary.base_bytes);
    let weights = adapter.join("adapter_model.safetensors");
    let bytes = fs::metadata(&weights).with_context(|| format!("cannot read `{}`", weights.display()))?.len();
    measured.put("adapter_bytes", bytes as f64);
    measured.series.insert("train_loss".to_owned(), train);
    measured.series.insert("val_loss".to_owned(), validation);
    Ok(())
}
