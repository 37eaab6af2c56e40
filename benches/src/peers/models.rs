//! A step of the models that people train, in three precisions, beside transformers and peft: time, share of what libtorch's
//! products reach, memory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use checkpoint::free_host_bytes;
use serde::Serialize;
use serde_json::{Value, json};

use super::bars::Bar;
use super::setting::{Measured, Setting};
use super::side_by_side::in_turns;
use super::stats::{Comparison, Pairs, spread};
use super::step::{Steps, same_work, with_flags};
use super::workbench::ask;
use xtask::measure::median;
use xtask::output::{note, say};

/// Batches of a step. Records are as long as Alpaca's; sorted by length, padding costs the peer nothing.
const WORKS: [(&str, &[&str]); 3] = [
    ("1 x 512 tokens", &["--batch_size", "1", "--seq_len", "512"]),
    ("8 records", &["--batch_size", "8"]),
    (SORTED, &["--batch_size", "8", "--group_by_length"]),
];
const SORTED: &str = "8 records, sorted by length";
/// alpaca-lora's.
const DROPOUT: f64 = 0.05;
/// Speed of a step in NF4 over that in bfloat16, at least.
const LEAST_OF_NF4: f64 = 0.8;

/// One process: `bench-step`, or `train_step.py`.
pub(super) struct Run<'a> {
    pub(super) name: String,
    pub(super) is_peer: bool,
    pub(super) dtype: &'static str,
    pub(super) model: &'a Path,
    pub(super) flags: Vec<String>,
}

/// Line of a table.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    name: String,
    /// Median step of each round.
    seconds: Vec<f64>,
    tokens_per_step: f64,
    gflop_per_s: f64,
    /// Share of the rate of libtorch's products in the same precision.
    of_products: f64,
    peak_host_mib: u64,
    last_loss: f64,
}

pub(crate) fn run(setting: &Setting<'_>) -> Result<Option<Measured>> {
    let (mut measured, mut bars) = (serde_json::Map::new(), Vec::new());
    for name in &setting.args.models {
        let model = directory(setting, name)?;
        for (work, flags) in WORKS {
            let run = |name: &str, is_peer, dtype, more: &[&str]| {
                let flags = flags.iter().chain(more).map(|&flag| flag.to_owned()).collect();
                Run { name: name.to_owned(), is_peer, dtype, model: &model, flags }
            };
            let rows = measure(
                setting,
                &format!("{name}, {work}"),
                &[
                    run("here, float32", false, "float32", &[]),
                    run("peft, float32", true, "float32", &[]),
                    run("here, bfloat16", false, "bfloat16", &[]),
                    run("peft, bfloat16", true, "bfloat16", &[]),
                    run("here, nf4", false, "bfloat16", &["--quantize", "nf4"]),
                ],
            )?;
            let ratios = ratios(&rows);
            for (what, ratio) in &ratios {
                say(&format!("  {what}: {}", ratio.ratios()));
            }
            if work == SORTED {
                bars.extend(goals(name, &rows, &ratios));
            }
            measured.insert(format!("{name}, {work}"), json!({ "table": rows, "ratios": ratios }));
        }
    }
    Ok(Some((Value::Object(measured), bars)))
}

/// Finds the directory of a model that `--models` names.
pub(super) fn directory(setting: &Setting<'_>, name: &str) -> Result<PathBuf> {
    if Path::new(name).is_dir() {
        return std::path::absolute(name).context("cannot resolve a path");
    }
    setting.bench.random_model(name)
}

/// Times `runs` in turns and prints a table of them; a peer that fails, as where memory ends, has no line.
///
/// A step's operations are those of the model with LoRA: `4 N` a token for the `N` weights of its products, and attention
/// forward and backward (`programs::products`).
pub(super) fn measure(setting: &Setting<'_>, title: &str, runs: &[Run<'_>]) -> Result<Vec<Option<Row>>> {
    let rounds = setting.args.model_rounds;
    say(&format!("\n{title}; medians of {rounds} rounds (range)"));
    say(&format!(
        "  {:<18}{:>26}{:>10}{:>10}{:>13}{:>10}",
        "", "s a step", "tokens/s", "GFLOP/s", "of products", "peak MiB"
    ));
    let mut failed = BTreeSet::new();
    let results = in_turns(rounds, runs, |run| {
        if failed.contains(&run.name) {
            return Ok(None);
        }
        match run.time(setting) {
            Err(error) if run.is_peer => {
                note(&format!("{}: {error:#}", run.name));
                failed.insert(run.name.clone());
                Ok(None)
            }
            steps => steps.map(Some),
        }
    })?;
    let ours = results.iter().zip(runs).find(|(_, run)| !run.is_peer);
    let ours = ours.and_then(|(results, _)| results.first()?.as_ref()).context("no run of ours")?;
    let mut rows = Vec::new();
    for (run, steps) in runs.iter().zip(&results) {
        let Some(steps) = steps.iter().map(Option::as_ref).collect::<Option<Vec<&Steps>>>() else {
            say(&format!("  {:<18}{:>26}", run.name, "failed"));
            rows.push(None);
            continue;
        };
        if run.is_peer {
            same_work(ours, steps[0], DROPOUT)?;
        }
        // A precision's own rate; the peer's is that of ours.
        let same = |other: &Run<'_>| {
            if run.is_peer { !other.is_peer && other.dtype == run.dtype } else { other.name == run.name }
        };
        let rates = runs.iter().zip(&results).filter(|(other, _)| same(other));
        let rates = rates.flat_map(|(_, steps)| steps.iter().flatten().filter_map(|s| s.product_gflop_per_s));
        let operations = if run.is_peer { &ours.gflop_per_step } else { &steps[0].gflop_per_step };
        let achieved = steps.iter().flat_map(|steps| operations.iter().zip(&steps.seconds_per_step));
        let gflop_per_s = median(&achieved.map(|(gflop, seconds)| gflop / seconds).collect::<Vec<_>>());
        let seconds: Vec<f64> = steps.iter().map(|steps| median(&steps.seconds_per_step)).collect();
        let tokens: Vec<f64> = steps[0].tokens_per_step.iter().map(|&tokens| tokens as f64).collect();
        let row = Row {
            name: run.name.clone(),
            tokens_per_step: median(&tokens),
            gflop_per_s,
            of_products: gflop_per_s / median(&rates.collect::<Vec<_>>()),
            peak_host_mib: steps.iter().map(|steps| steps.peak_host_mib).max().unwrap_or_default(),
            last_loss: steps[0].loss.last().copied().unwrap_or(f64::NAN),
            seconds,
        };
        let rate = row.tokens_per_step / median(&row.seconds);
        let (seconds, share) = (spread(&row.seconds, 3), format!("{:.0} %", row.of_products * 100.0));
        say(&format!(
            "  {:<18}{seconds:>26}{rate:>10.0}{gflop_per_s:>10.0}{share:>13}{:>10}",
            run.name, row.peak_host_mib
        ));
        rows.push(Some(row));
    }
    Ok(rows)
}

impl Run<'_> {
    fn time(&self, setting: &Setting<'_>) -> Result<Steps> {
        let mut command =
            if self.is_peer { setting.script("train_step.py") } else { setting.bench.program("bench-step") };
        if !self.is_peer {
            command.arg("--product_rate");
        }
        command.args(["--dtype", self.dtype, "--lora_dropout", &DROPOUT.to_string()]);
        command.args(["--steps", &setting.args.model_steps.to_string()]).args(&self.flags);
        ask(&mut within_memory(with_flags(&mut command, setting, self.model)))
    }
}

/// Lets a process end with an error where it asks for more memory than is free, instead of taking the machine along.
fn within_memory(command: &Command) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", "[ \"$0\" = 0 ] || ulimit -d \"$0\"; exec \"$@\""]);
    limited.arg((free_host_bytes().unwrap_or(0) >> 10).to_string());
    limited.arg(command.get_program()).args(command.get_args());
    limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(dir) = command.get_current_dir() {
        limited.current_dir(dir);
    }
    limited
}

/// Compares the five lines of a table.
fn ratios(rows: &[Option<Row>]) -> Vec<(String, Comparison)> {
    let [float32, peft_float32, bfloat16, peft_bfloat16, nf4] = rows else { return Vec::new() };
    let best = [peft_float32, peft_bfloat16].into_iter().flatten();
    let best = best.min_by(|a, b| median(&a.seconds).total_cmp(&median(&b.seconds)));
    let pairs = [
        (float32.as_ref(), peft_float32.as_ref()),
        (bfloat16.as_ref(), peft_bfloat16.as_ref()),
        (bfloat16.as_ref(), best),
        (nf4.as_ref(), bfloat16.as_ref()),
    ];
    let names = ["times as fast in float32", "in bfloat16", BESIDE_BEST, NF4_BESIDE_BFLOAT16];
    let compared = names.into_iter().zip(pairs).filter_map(|(name, (ours, theirs))| {
        let pairs = Pairs { rust_s: ours?.seconds.clone(), python_s: theirs?.seconds.clone() };
        Some((name.to_owned(), pairs.compare()))
    });
    compared.collect()
}

const BESIDE_BEST: &str = "in bfloat16 beside peft's faster one";
const NF4_BESIDE_BFLOAT16: &str = "speed of nf4 over bfloat16, both here";

/// Returns the bars of records sorted by length.
fn goals(model: &str, rows: &[Option<Row>], ratios: &[(String, Comparison)]) -> Vec<Bar> {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let amx = flags.contains("amx_bf16") && std::env::var_os("ONEDNN_MAX_CPU_ISA").is_none();
    let (faster, share) = match model {
        "tinyllama-1.1b" => (2.2, Some(0.75)),
        _ if amx => (3.0, Some(0.4)),
        _ => (1.5, None),
    };
    let least = |what: &str, least: f64, actual: Option<f64>| {
        let what = format!("{model}, {SORTED}, {what}: at least {least}: {:.2}", actual.unwrap_or(f64::NAN));
        Bar { what, met: actual.is_some_and(|actual| actual >= least) }
    };
    let ratio = |name: &str| ratios.iter().find(|(what, _)| what == name).map(|(_, ratio)| ratio.ratio);
    let of_products = rows.get(2).and_then(|row| row.as_ref()).map(|row| row.of_products);
    let mut bars = vec![
        least(BESIDE_BEST, faster, ratio(BESIDE_BEST)),
        least(NF4_BESIDE_BFLOAT16, LEAST_OF_NF4, ratio(NF4_BESIDE_BFLOAT16)),
    ];
    bars.extend(share.map(|share| least("share of products in bfloat16", share, of_products)));
    bars
}
