//! A whole fine-tuning process, from start to saved adapter: three epochs of a small file.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::json;

use super::bars::Bar;
use super::setting::{Measured, Setting};
use super::side_by_side::interleaved;
use super::stats::Pairs;
use super::workbench::remove;
use xtask::output::{note, say};
use xtask::process;

/// A line of `metrics.jsonl`; both sides write these two fields.
#[derive(Debug, Deserialize)]
struct Line {
    step: u64,
    loss: Option<f64>,
}

/// alpaca-lora's flags, which both sides take.
const FLAGS: [&str; 20] = [
    "--batch_size",
    "8",
    "--micro_batch_size",
    "4",
    "--num_epochs",
    "3",
    "--learning_rate",
    "3e-4",
    "--cutoff_len",
    "256",
    "--val_set_size",
    "0",
    "--lora_r",
    "8",
    "--lora_alpha",
    "16",
    "--lora_dropout",
    "0.05",
    "--lora_target_modules",
    "[q_proj,v_proj]",
];

pub(crate) fn run(setting: &Setting<'_>) -> Result<Option<Measured>> {
    let (rust_dir, python_dir) =
        (setting.bench.out.join("whole-rust"), setting.bench.out.join("whole-python"));
    let rust = || {
        let mut command = setting.bench.program("finetune");
        command.args(["--dtype", "float32", "--device", "cpu"]);
        time(setting, command, &rust_dir)
    };
    let python = || time(setting, setting.script("finetune.py"), &python_dir);
    let mut pairs = Pairs::default();
    interleaved(setting.args.whole_rounds, rust, python, |round, rust, python| {
        pairs.push(*rust, *python);
        note(&format!("round {}: rust {rust:.1} s, python {python:.1} s", round + 1));
    })?;
    let compared = pairs.compare();
    say(&format!("whole process: {compared}"));
    let loss = last_common(&losses(&rust_dir)?, &losses(&python_dir)?);
    if let Some((step, ours, theirs)) = loss {
        // Not the same to the digit: other order, other dropout, and the peer's padding (benches/finetune.py).
        say(&format!("  loss logged at step {step}: rust {ours:.4}, python {theirs:.4}"));
    }
    let measured = json!({ "rounds": pairs, "median": compared, "loss_step_rust_python": loss });
    let what = format!("whole process at least 2 times faster: {:.2}", compared.ratio);
    Ok(Some((measured, vec![Bar { what, met: compared.ratio >= 2.0 }])))
}

fn time(setting: &Setting<'_>, mut command: Command, output_dir: &Path) -> Result<f64> {
    remove(output_dir)?;
    command.arg("--base_model").arg(&setting.base_model).arg("--data_path").arg(&setting.data_path);
    command.args(FLAGS).args(["--threads", &setting.bench.threads.to_string()]);
    let start = Instant::now();
    process::run_to_stderr(command.arg("--output_dir").arg(output_dir))?;
    Ok(start.elapsed().as_secs_f64())
}

/// Returns the losses that a run logged, by step.
fn losses(dir: &Path) -> Result<BTreeMap<u64, f64>> {
    let file = dir.join("metrics.jsonl");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    Ok(lines.filter_map(|line| Some((line.step, line.loss?))).collect())
}

/// Returns the last step that both sides logged, with their losses.
fn last_common(ours: &BTreeMap<u64, f64>, theirs: &BTreeMap<u64, f64>) -> Option<(u64, f64, f64)> {
    ours.iter().rev().find_map(|(step, loss)| Some((*step, *loss, *theirs.get(step)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_compared_at_the_same_step() {
        let ours = BTreeMap::from([(10, 3.0), (20, 2.0), (24, 1.0)]);
        let theirs = BTreeMap::from([(10, 3.1), (20, 2.1)]);
        assert_eq!(last_common(&ours, &theirs), Some((20, 2.0, 2.1)));
        assert_eq!(last_common(&ours, &BTreeMap::new()), None);
    }
}
