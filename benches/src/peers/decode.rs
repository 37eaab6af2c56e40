//! `cargo xtask bench decode`: tokens a second beside Python's transformers, and beside what memory allows.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bars::{Bar, report_bars};
use super::side_by_side::interleaved;
use super::stats::Pairs;
use xtask::measure::{cpu_name, median};
use xtask::output::{note, say};
use xtask::workspace::Workspace;
use xtask::{process, python, setup};

#[derive(Debug, Clone, Args)]
pub(crate) struct DecodeArgs {
    /// Python with torch 2.11.0 and transformers
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: String,
    /// Rounds, in each of which both sides run as processes of their own
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// New tokens after a prompt of five; the 1.1B gets a quarter
    #[arg(long = "new_tokens", alias = "new-tokens", value_name = "N", default_value_t = 128)]
    new_tokens: usize,
    /// CPU threads of both sides [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// These models only: stories15m, smollm2-135m, tinyllama-1.1b
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
}

/// Output of `bench-decode` and `decode.py`.
#[derive(Debug, Deserialize)]
struct Decoded {
    first_token_s: Vec<f64>,
    token_s: Vec<f64>,
    ids: Vec<i64>,
    weight_bytes: Option<u64>,
    peak_host_mib: u64,
    private_kib: Option<[u64; 2]>,
    read_gb_per_s: Option<f64>,
}

/// A model of the bench and what is asked of it.
struct Model {
    name: &'static str,
    /// Times faster than transformers, at least.
    ratio: Option<f64>,
    /// Part of the bound set by memory that bfloat16 reaches, at least.
    of_bound: Option<f64>,
    /// Times faster in NF4 than in bfloat16, at least.
    nf4: Option<f64>,
    /// Divisor of the number of new tokens.
    part: usize,
}

const MODELS: [Model; 3] = [
    Model { name: "stories15m", ratio: None, of_bound: None, nf4: None, part: 1 },
    Model { name: "smollm2-135m", ratio: Some(2.0), of_bound: None, nf4: None, part: 1 },
    Model { name: "tinyllama-1.1b", ratio: Some(1.3), of_bound: Some(0.55), nf4: Some(2.0), part: 4 },
];
const STORIES: &str = "../shared/data/models/stories15M-hf";
/// Tokens over which memory must not grow, and by how much it may move, in KiB: the allocator keeps some of what is freed.
const STEADY_TOKENS: usize = 10_000;
const STEADY_KIB: u64 = 2048;

struct Setting<'a> {
    workspace: &'a Workspace,
    args: &'a DecodeArgs,
    bin: PathBuf,
    out: PathBuf,
    threads: String,
}

pub(crate) fn run(workspace: &Workspace, args: &DecodeArgs) -> Result<()> {
    if args.rounds == 0 || args.new_tokens < 8 {
        bail!("rounds has to be at least 1 and new_tokens at least 8");
    }
    if let Some(unknown) = args.only.iter().find(|name| MODELS.iter().all(|model| model.name != **name)) {
        bail!("no model `{unknown}`; expected stories15m, smollm2-135m or tinyllama-1.1b");
    }
    python::check(&args.python, &["torch", "transformers"])?;
    setup::ensure(workspace)?;
    let out = workspace.path("target/bench");
    fs::create_dir_all(&out).with_context(|| format!("cannot create `{}`", out.display()))?;
    let threads = args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let bin = workspace.release_binaries()?;
    let setting = Setting { workspace, args, bin, out, threads: threads.to_string() };
    say(&format!("{threads} threads, {}", cpu_name()));
    let (mut bars, mut models) = (Vec::new(), Vec::new());
    for model in
        MODELS.iter().filter(|model| args.only.is_empty() || args.only.iter().any(|n| n == model.name))
    {
        let Some(dir) = setting.weights(model)? else {
            note(&format!("\n[{}] skipped: no `{STORIES}`", model.name));
            continue;
        };
        for dtype in ["float32", "bfloat16"] {
            note(&format!("\n[{} {dtype}]", model.name));
            models.push(setting.compare(model, &dir, dtype, &mut bars)?);
        }
        if let Some(least) = model.nf4 {
            note(&format!("\n[{} nf4]", model.name));
            models.push(setting.compare_nf4(model, &dir, least, &mut bars)?);
        }
        if model.name == "smollm2-135m" {
            setting.steady(&dir, &mut bars)?;
        }
    }
    let report = json!({ "machine": { "cpu": cpu_name(), "threads": threads }, "models": models });
    report_bars(&setting.out.join("decode.json"), &report, &bars)
}

impl Setting<'_> {
    /// Returns the directory of a model, which is made where it can be.
    fn weights(&self, model: &Model) -> Result<Option<PathBuf>> {
        if model.name == "stories15m" {
            let dir = self.workspace.path(STORIES);
            return Ok(dir.exists().then_some(dir));
        }
        let dir = self.out.join(model.name);
        if !dir.join("config.json").exists() {
            let mut make = self.workspace.command(self.bin.join("pretrain"));
            make.args(["--init_only", "--preset", model.name, "--dtype", "bfloat16", "--device", "cpu"]);
            process::run_to_stderr(make.arg("--output_dir").arg(&dir))?;
        }
        Ok(Some(dir))
    }

    fn ask(&self, command: &mut Command, dir: &PathBuf, dtype: &str, tokens: usize) -> Result<Decoded> {
        command.arg("--base_model").arg(dir).args(["--dtype", dtype, "--threads", &self.threads]);
        let text = process::capture(command.args(["--new_tokens", &tokens.to_string(), "--repeats", "3"]))?;
        serde_json::from_str(&text).context("cannot read what a side of the bench printed")
    }

    fn compare(&self, model: &Model, dir: &PathBuf, dtype: &str, bars: &mut Vec<Bar>) -> Result<Value> {
        let tokens = self.args.new_tokens / model.part;
        let rust = || {
            let mut command = self.workspace.command(self.bin.join("bench-decode"));
            self.ask(command.args(["--read_mib", "512"]), dir, dtype, tokens)
        };
        let python = || {
            let mut command = self.workspace.command(&self.args.python);
            command.arg(self.workspace.path("benches/decode.py")).env("HF_HUB_OFFLINE", "1");
            self.ask(&mut command, dir, dtype, tokens)
        };
        let (mut steps, mut firsts) = (Pairs::default(), Pairs::default());
        let sides = interleaved(self.args.rounds, rust, python, |_, rust, python| {
            steps.push(median(&rust.token_s), median(&python.token_s));
            firsts.push(median(&rust.first_token_s), median(&python.first_token_s));
        })?;
        let (step, first) = (steps.compare(), firsts.compare());
        let (ours, theirs) = sides.last().context("no round")?;
        let same = ours.ids.iter().zip(&theirs.ids).take_while(|(a, b)| a == b).count();
        let bandwidth: Vec<f64> = sides.iter().filter_map(|(rust, _)| rust.read_gb_per_s).collect();
        let bandwidth = median(&bandwidth);
        let bytes = ours.weight_bytes.context("`bench-decode` gives weight_bytes")? as f64;
        let of_bound = bytes / 1e9 / step.rust_s / bandwidth;
        say(&format!(
            "{:.1} tokens/s, transformers {:.1}: ratio {:.2} (single rounds {:.2} to {:.2})",
            1.0 / step.rust_s,
            1.0 / step.python_s,
            step.ratio,
            step.lowest_ratio,
            step.highest_ratio
        ));
        say(&format!(
            "  {:.1} GB/s of {bandwidth:.1} GB/s that memory gives: {:.0} %",
            bytes / 1e9 / step.rust_s,
            of_bound * 100.0
        ));
        say(&format!("  first token: {first}"));
        say(&format!(
            "  peak memory {} MiB, transformers {} MiB; {same} of {} tokens the same",
            ours.peak_host_mib,
            theirs.peak_host_mib,
            ours.ids.len()
        ));
        if let Some(least) = model.ratio {
            let what =
                format!("{} {dtype}: at least {least} times transformers: {:.2}", model.name, step.ratio);
            bars.push(Bar { what, met: step.ratio >= least });
        }
        if let (Some(least), "bfloat16") = (model.of_bound, dtype) {
            let what =
                format!("{} {dtype}: at least {least} of the bound of memory: {of_bound:.2}", model.name);
            bars.push(Bar { what, met: of_bound >= least });
        }
        Ok(json!({
            "model": model.name, "dtype": dtype, "token": step, "first_token": first, "rounds": steps,
            "weight_bytes": bytes, "read_gb_per_s": bandwidth, "of_bound": of_bound, "same_tokens": same,
            "peak_host_mib": { "rust": ours.peak_host_mib, "python": theirs.peak_host_mib },
        }))
    }

    /// Compares NF4 with bfloat16, both ours.
    fn compare_nf4(&self, model: &Model, dir: &PathBuf, least: f64, bars: &mut Vec<Bar>) -> Result<Value> {
        let tokens = self.args.new_tokens / model.part;
        let side = |quantize: &str| {
            let mut command = self.workspace.command(self.bin.join("bench-decode"));
            self.ask(command.args(["--read_mib", "512", "--quantize", quantize]), dir, "bfloat16", tokens)
        };
        let mut steps = Pairs::default();
        let sides = interleaved(
            self.args.rounds,
            || side("nf4"),
            || side("none"),
            |_, nf4, plain| {
                steps.push(median(&nf4.token_s), median(&plain.token_s));
            },
        )?;
        let step = steps.compare();
        let (nf4, plain) = sides.last().context("no round")?;
        let bytes = nf4.weight_bytes.context("`bench-decode` gives weight_bytes")? as f64;
        say(&format!(
            "{:.1} tokens/s, bfloat16 {:.1}: ratio {:.2}; {:.1} GB/s; peak memory {} MiB, bfloat16 {} MiB",
            1.0 / step.rust_s,
            1.0 / step.python_s,
            step.ratio,
            bytes / 1e9 / step.rust_s,
            nf4.peak_host_mib,
            plain.peak_host_mib
        ));
        let what = format!("{} nf4: at least {least} times bfloat16: {:.2}", model.name, step.ratio);
        bars.push(Bar { what, met: step.ratio >= least });
        Ok(json!({ "model": model.name, "dtype": "nf4", "bfloat16_is_python": step, "weight_bytes": bytes }))
    }

    /// Measures memory over many tokens, in three sessions: what the later ones take must be what the first left.
    fn steady(&self, dir: &PathBuf, bars: &mut Vec<Bar>) -> Result<()> {
        let mut command = self.workspace.command(self.bin.join("bench-decode"));
        let decoded = self.ask(&mut command, dir, "bfloat16", STEADY_TOKENS.div_ceil(3))?;
        let [early, late] = decoded.private_kib.context("`bench-decode` gives private_kib")?;
        let grown = late.saturating_sub(early);
        let what =
            format!("private memory over {STEADY_TOKENS} tokens grows by under {STEADY_KIB} KiB: {grown}");
        bars.push(Bar { what, met: grown < STEADY_KIB });
        Ok(())
    }
}
