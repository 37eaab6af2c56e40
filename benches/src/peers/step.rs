//! One training step: forward, backward, clip, update, on the same batches.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::bars::Bar;
use super::setting::{Measured, Setting};
use super::side_by_side::interleaved;
use super::stats::Pairs;
use xtask::measure::median;
use xtask::output::{note, say};
use xtask::process;

/// Output of `bench-step` and `train_step.py`.
#[derive(Debug, Deserialize)]
struct Steps {
    seconds_per_step: Vec<f64>,
    tokens_per_step: Vec<usize>,
    loss: Vec<f64>,
    peak_host_mib: u64,
}

/// Without dropout both sides do the same arithmetic, so the losses have to agree; with it, the default is timed.
const DROPOUTS: [f64; 2] = [0.0, 0.05];

/// Losses of the same work may differ by this much, relative. The two sides start from other random factors, and the
/// first steps hardly feel it.
const LOSS_TOLERANCE: f64 = 0.02;

pub(crate) fn run(setting: &Setting<'_>) -> Result<Option<Measured>> {
    let mut measured = serde_json::Map::new();
    let mut bars = Vec::new();
    for dropout in DROPOUTS {
        let (value, bar) = with_dropout(setting, dropout)?;
        measured.insert(format!("dropout {dropout}"), value);
        bars.push(bar);
    }
    Ok(Some((Value::Object(measured), bars)))
}

fn with_dropout(setting: &Setting<'_>, dropout: f64) -> Result<(Value, Bar)> {
    let rust = || time(setting, setting.program("bench-step"), dropout, "step-rust.json");
    let python = || time(setting, setting.script("train_step.py"), dropout, "step-python.json");
    let mut pairs = Pairs::default();
    let runs = interleaved(setting.args.rounds, rust, python, |round, rust, python| {
        let (ours, theirs) = (median(&rust.seconds_per_step), median(&python.seconds_per_step));
        pairs.push(ours, theirs);
        note(&format!("round {}: rust {ours:.3} s, python {theirs:.3} s a step", round + 1));
    })?;
    let Some((rust, python)) = runs.last() else { bail!("no round was run") };
    same_work(rust, python, dropout)?;
    let compared = pairs.compare();
    say(&format!("step, dropout {dropout}: {compared}"));
    say(&format!(
        "  loss of the first and last step: rust {}, python {}; peak memory: rust {} MiB, python {} MiB",
        ends(&rust.loss),
        ends(&python.loss),
        rust.peak_host_mib,
        python.peak_host_mib
    ));
    let value = json!({
        "rounds": pairs,
        "median": compared,
        "loss": { "rust": rust.loss, "python": python.loss },
        "tokens_per_step": rust.tokens_per_step,
        "peak_host_mib": { "rust": rust.peak_host_mib, "python": python.peak_host_mib },
    });
    let what = format!("step ratio at least 1.0, dropout {dropout}: {:.2}", compared.ratio);
    Ok((value, Bar { what, met: compared.ratio >= 1.0 }))
}

fn time(setting: &Setting<'_>, mut command: Command, dropout: f64, json: &str) -> Result<Steps> {
    let json = setting.out.join(json);
    let _ = fs::remove_file(&json);
    command.arg("--base_model").arg(&setting.base_model).arg("--data_path").arg(&setting.data_path);
    command.args(["--batch_size", "8", "--cutoff_len", "256", "--lora_r", "8", "--lora_alpha", "16"]);
    command.args(["--dtype", "float32", "--lora_dropout", &dropout.to_string()]);
    command.args(["--steps", &setting.args.steps.to_string(), "--threads", &setting.threads.to_string()]);
    process::run_to_stderr(command.arg("--json").arg(&json))?;
    read(&json)
}

fn read(json: &Path) -> Result<Steps> {
    let text = fs::read_to_string(json).with_context(|| format!("cannot read `{}`", json.display()))?;
    serde_json::from_str(&text).with_context(|| format!("cannot read `{}`", json.display()))
}

/// Refuses a comparison of unequal work.
fn same_work(rust: &Steps, python: &Steps, dropout: f64) -> Result<()> {
    if rust.tokens_per_step != python.tokens_per_step {
        bail!(
            "the sides read other tokens: rust {:?}, python {:?}",
            rust.tokens_per_step,
            python.tokens_per_step
        );
    }
    let (Some(ours), Some(theirs)) = (rust.loss.first(), python.loss.first()) else {
        bail!("no step was timed")
    };
    // Dropout is drawn from other random numbers.
    if dropout == 0.0 && (ours / theirs - 1.0).abs() > LOSS_TOLERANCE {
        bail!("the sides do other work: the first timed loss is {ours} in Rust, {theirs} in Python");
    }
    Ok(())
}

fn ends(losses: &[f64]) -> String {
    let show = |loss: Option<&f64>| loss.map_or_else(|| "none".to_owned(), |loss| format!("{loss:.4}"));
    format!("{} and {}", show(losses.first()), show(losses.last()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(tokens: usize, loss: f64) -> Steps {
        Steps {
            seconds_per_step: vec![1.0],
            tokens_per_step: vec![tokens],
            loss: vec![loss],
            peak_host_mib: 1,
        }
    }

    #[test]
    fn unequal_work_is_not_compared() {
        assert!(same_work(&steps(100, 2.0), &steps(100, 2.001), 0.0).is_ok());
        assert!(same_work(&steps(100, 2.0), &steps(104, 2.0), 0.0).is_err());
        assert!(same_work(&steps(100, 2.0), &steps(100, 2.2), 0.0).is_err());
        assert!(same_work(&steps(100, 2.0), &steps(100, 2.2), 0.05).is_ok());
    }
}
