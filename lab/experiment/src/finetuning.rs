//! One fine-tuning run, and what its files say.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use results::Cell;
use serde::Deserialize;
use toml::{Table, Value};

use super::answers::copy;
use super::programs::{Programs, read_json};
use super::setting::Setting;
use super::store::write_atomically;

/// A fine-tuning run.
#[derive(Debug)]
pub(crate) struct Training<'a> {
    /// Name of the log and of the directory.
    pub(crate) name: &'a str,
    pub(crate) size: Option<usize>,
    pub(crate) seed: u64,
    /// Settings over the profile's.
    pub(crate) over: &'a Table,
}

/// Numbers of `summary.json`, which `finetune` leaves, and their names in a cell.
const SUMMARY: [(&str, &str); 12] = [
    ("train_s", "train_s"),
    ("tokens_per_s", "tokens_per_s"),
    ("final_loss?", "train_loss_final"),
    ("best_val_loss?", "val_loss_best"),
    ("load_s", "phase_load_s"),
    ("quantise_s", "phase_quantise_s"),
    ("forward_s", "phase_forward_s"),
    ("backward_s", "phase_backward_s"),
    ("optimizer_s", "phase_optimizer_s"),
    ("peak_host_mib", "peak_host_mib"),
    ("peak_device_mib?", "peak_device_mib"),
    ("base_bytes", "base_bytes"),
];

/// A line of `metrics.jsonl`: a logged step or an evaluation.
#[derive(Debug, Deserialize)]
struct Line {
    step: f64,
    loss: Option<f64>,
    eval_loss: Option<f64>,
}

impl Training<'_> {
    /// Trains; gives the adapter's directory.
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

/// Adds the curves of loss.
pub(crate) fn read_curves(adapter: &Path, cell: &mut Cell) -> Result<()> {
    let path = adapter.join("metrics.jsonl");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let line: Line =
            serde_json::from_str(line).with_context(|| format!("cannot read `{}`", path.display()))?;
        train.extend(line.loss.map(|loss| (line.step, Some(loss))));
        validation.extend(line.eval_loss.map(|loss| (line.step, Some(loss))));
    }
    cell.series.insert("train_loss".to_owned(), train);
    cell.series.insert("val_loss".to_owned(), validation);
    Ok(())
}

/// Adds what a run's files say.
pub(crate) fn read_run(adapter: &Path, cell: &mut Cell) -> Result<()> {
    read_curves(adapter, cell)?;
    let summary = adapter.join("summary.json");
    copy(cell, &read_json(&summary)?, &SUMMARY).with_context(|| format!("`{}`", summary.display()))?;
    cell.put("load_s", cell.metric("phase_load_s").zip(cell.metric("phase_quantise_s")).map(|(a, b)| a + b));
    cell.put("val_loss_final", cell.curve("val_loss").last().map(|point| point.1));
    let weights = adapter.join("adapter_model.safetensors");
    let bytes = fs::metadata(&weights).with_context(|| format!("cannot read `{}`", weights.display()))?.len();
    cell.put("adapter_bytes", bytes as f64);
    Ok(())
}
