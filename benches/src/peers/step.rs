//! One training step: forward, backward, clip, update, on the same batches.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};
use serde::Deserialize;
use serde_json::{Value, json};

use super::bars::Bar;
use super::setting::{Measured, Setting};
use super::side_by_side::interleaved;
use super::stats::Pairs;
use super::workbench::ask;
use xtask::measure::median;
use xtask::output::{note, say};

/// Output of `bench-step` and `train_step.py`.
#[derive(Debug, Deserialize)]
pub(super) struct Steps {
    pub(super) seconds_per_step: Vec<f64>,
    pub(super) tokens_per_step: Vec<usize>,
    pub(super) loss: Vec<f64>,
    pub(super) peak_host_mib: u64,
    /// Operations of a step, in 10⁹, and a second of libtorch's products; `bench-step` counts and measures them.
    #[serde(default)]
    pub(super) gflop_per_step: Vec<f64>,
    pub(super) product_gflop_per_s: Option<f64>,
}

/// Without dropout both sides do the same arithmetic, so the losses have to agree; with it, the default is timed.
const DROPOUTS: [f64; 2] = [0.0, 0.05];

/// Losses of the same work may differ by this much, relative. The two sides start from other random factors, and the
/// first steps hardly feel it. Dropout is drawn from other random numbers.
const LOSS_TOLERANCE: f64 = 0.02;
const LOSS_TOLERANCE_WITH_DROPOUT: f64 = 0.1;

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
    let rust = || step(setting, setting.bench.program("bench-step"), dropout);
    let python = || step(setting, setting.script("train_step.py"), dropout);
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

/// Times steps of one side.
pub(super) fn step(setting: &Setting<'_>, mut command: Command, dropout: f64) -> Result<Steps> {
    let steps = setting.args.steps.to_string();
    command.args(["--batch_size", "8", "--dtype", "float32", "--steps", &steps]);
    let command = with_flags(&mut command, setting, &setting.base_model);
    ask(command.args(["--lora_dropout", &dropout.to_string()]))
}

/// Adds the flags that the two sides of every step share.
pub(super) fn with_flags<'a>(
    command: &'a mut Command,
    setting: &Setting<'_>,
    base_model: &Path,
) -> &'a mut Command {
    command.arg("--base_model").arg(base_model).arg("--data_path").arg(&setting.data_path);
    command.args(["--cutoff_len", "256", "--lora_alpha", "16"]);
    command.args(["--threads", &setting.bench.threads.to_string()])
}

/// Refuses a comparison of unequal work.
pub(super) fn same_work(rust: &Steps, python: &Steps, dropout: f64) -> Result<()> {
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
    let tolerance = if dropout == 0.0 { LOSS_TOLERANCE } else { LOSS_TOLERANCE_WITH_DROPOUT };
    if (ours / theirs - 1.0).abs() > tolerance {
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
            gflop_per_step: Vec::new(),
            product_gflop_per_s: None,
        }
    }

    #[test]
    fn unequal_work_is_not_compared() {
        assert!(same_work(&steps(100, 2.0), &steps(100, 2.001), 0.0).is_ok());
        assert!(same_work(&steps(100, 2.0), &steps(104, 2.0), 0.0).is_err());
        assert!(same_work(&steps(100, 2.0), &steps(100, 2.2), 0.0).is_err());
        assert!(same_work(&steps(100, 2.0), &steps(100, 2.2), 0.05).is_ok());
        assert!(same_work(&steps(100, 2.0), &steps(100, 3.0), 0.05).is_err());
    }
}
