//! `cargo xtask bench decode`: tokens a second beside Python's transformers, and beside what memory allows.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::bars::{Bar, report_bars};
use super::llama_cpp::LlamaCpp;
use super::side_by_side::interleaved;
use super::stats::Pairs;
use super::workbench::{Workbench, ask};
use xtask::measure::{cpu_name, median};
use xtask::output::{note, say};
use xtask::python;
use xtask::workspace::Workspace;

#[derive(Debug, Clone, Args)]
pub(crate) struct DecodeArgs {
    /// Python with torch 2.11.0 and transformers
    #[arg(long, value_name = "PATH", default_value = "python3")]
    python: String,
    /// Python with llama-cpp-python, which takes the place of --python: decoding, and a prompt of 256 tokens, beside llama.cpp
    #[arg(long = "llama_cpp", alias = "llama-cpp", value_name = "PATH")]
    llama_cpp: Option<String>,
    /// Rounds, in each of which all sides run as processes of their own
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub(super) rounds: usize,
    /// New tokens after a prompt of five (beside llama.cpp, of 256); the 1.1B gets a quarter
    #[arg(long = "new_tokens", alias = "new-tokens", value_name = "N", default_value_t = 128)]
    new_tokens: usize,
    /// CPU threads of all sides [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// These models only: stories15m; random weights of smollm2-135m, tinyllama-1.1b; or any model's path
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
}

/// Output of `bench-decode`, `decode.py` and `decode_llama_cpp.py`.
#[derive(Debug, Deserialize)]
pub(super) struct Decoded {
    pub(super) first_token_s: Vec<f64>,
    pub(super) token_s: Vec<f64>,
    pub(super) ids: Vec<i64>,
    pub(super) weight_bytes: Option<u64>,
    pub(super) peak_host_mib: u64,
    private_kib: Option<[u64; 2]>,
    read_gb_per_s: Option<f64>,
    /// Kinds of memory that llama.cpp's weights lie in.
    #[serde(default)]
    pub(super) buffers: Vec<String>,
}

/// A model of the bench and what is asked of it.
#[derive(Clone, Copy)]
pub(super) struct Model<'a> {
    /// Its name, or its path.
    pub(super) name: &'a str,
    /// Times faster than transformers, at least.
    ratio: Option<f64>,
    /// Part of the bound set by memory that bfloat16 reaches, at least.
    of_bound: Option<f64>,
    /// Times faster in NF4 than in bfloat16, at least.
    nf4: Option<f64>,
    /// Divisor of the number of new tokens.
    part: usize,
}

const MODELS: [Model<'_>; 3] = [
    Model { name: "stories15m", ratio: None, of_bound: None, nf4: None, part: 1 },
    Model { name: "smollm2-135m", ratio: Some(2.0), of_bound: None, nf4: None, part: 1 },
    Model { name: "tinyllama-1.1b", ratio: Some(1.3), of_bound: Some(0.55), nf4: Some(2.0), part: 4 },
];
const STORIES: &str = "models/stories15M-hf";
/// Tokens over which memory must not grow, and by how much it may move, in KiB: the allocator keeps some of what is freed.
const STEADY_TOKENS: usize = 10_000;
const STEADY_KIB: u64 = 2048;

pub(super) struct Setting<'a> {
    pub(super) bench: Workbench<'a>,
    pub(super) args: &'a DecodeArgs,
}

pub(crate) fn run(workspace: &Workspace, args: &DecodeArgs) -> Result<()> {
    if args.rounds == 0 || args.new_tokens < 8 {
        bail!("rounds has to be at least 1 and new_tokens at least 8");
    }
    let models = chosen(&args.only)?;
    let llama_cpp = args.llama_cpp.as_deref().map(|python| LlamaCpp::find(workspace, python)).transpose()?;
    if llama_cpp.is_none() {
        python::check(&args.python, &["torch", "transformers"])?;
    }
    let setting = Setting { bench: Workbench::new(workspace, args.threads)?, args };
    let (mut bars, mut measured) = (Vec::new(), Vec::new());
    for model in &models {
        let Some(path) = setting.weights(model)? else {
            note(&format!("\n[{}] skipped: `{STORIES}` is not at hand", model.name));
            continue;
        };
        if let Some(llama_cpp) = &llama_cpp {
            measured.push(llama_cpp.compare(&setting, model, &path, &mut bars)?);
            continue;
        }
        for dtype in ["float32", "bfloat16"] {
            note(&format!("\n[{} {dtype}]", model.name));
            measured.push(setting.compare(model, &path, dtype, &mut bars)?);
        }
        if let Some(least) = model.nf4 {
            note(&format!("\n[{} nf4]", model.name));
            measured.push(setting.compare_nf4(model, &path, least, &mut bars)?);
        }
        if model.name == "smollm2-135m" {
            setting.steady(&path, &mut bars)?;
        }
    }
    let machine = json!({ "cpu": cpu_name(), "threads": setting.bench.threads });
    let mut report = json!({ "machine": machine, "models": measured });
    let mut file = "decode.json";
    if let Some(llama_cpp) = &llama_cpp {
        (report["llama_cpp"], file) = (json!(llama_cpp.system), "decode-llama_cpp.json");
    }
    report_bars(&setting.bench.out.join(file), &report, &bars)
}

/// Finds the models that `names` asks for; all where there are none.
fn chosen(names: &[String]) -> Result<Vec<Model<'_>>> {
    if names.is_empty() {
        return Ok(MODELS.to_vec());
    }
    let find = |name| match MODELS.iter().find(|model| model.name == name) {
        Some(model) => Ok(*model),
        None if PathBuf::from(name).exists() => {
            Ok(Model { name, ratio: None, of_bound: None, nf4: None, part: 1 })
        }
        None => bail!("no model `{name}`; expected a path, stories15m, smollm2-135m or tinyllama-1.1b"),
    };
    names.iter().map(|name| find(name.as_str())).collect()
}

impl Setting<'_> {
    /// Returns the path of a model, which is made where it can be.
    fn weights(&self, model: &Model<'_>) -> Result<Option<PathBuf>> {
        match model.name {
            "stories15m" => Ok(self.bench.shared(STORIES)),
            name if MODELS.iter().any(|model| model.name == name) => self.bench.random_model(name).map(Some),
            path => Ok(Some(std::path::absolute(path).context("cannot resolve a path")?)),
        }
    }

    /// Returns the number of new tokens that a model is asked for.
    pub(super) fn new_tokens(&self, model: &Model<'_>) -> usize {
        self.args.new_tokens / model.part
    }

    /// Runs one side; `bench-decode` and `decode.py` take the same flags.
    pub(super) fn ask(
        &self,
        command: &mut Command,
        path: &Path,
        dtype: &str,
        tokens: usize,
    ) -> Result<Decoded> {
        command.arg("--base_model").arg(path).args(["--dtype", dtype]);
        command.args(["--threads", &self.bench.threads.to_string()]);
        ask(command.args(["--new_tokens", &tokens.to_string(), "--repeats", "3"]))
    }

    fn compare(&self, model: &Model<'_>, dir: &Path, dtype: &str, bars: &mut Vec<Bar>) -> Result<Value> {
        let tokens = self.new_tokens(model);
        let rust = || {
            let mut command = self.bench.program("bench-decode");
            self.ask(command.args(["--read_mib", "512"]), dir, dtype, tokens)
        };
        let python = || self.ask(&mut self.bench.script(&self.args.python, "decode.py"), dir, dtype, tokens);
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
    fn compare_nf4(&self, model: &Model<'_>, dir: &Path, least: f64, bars: &mut Vec<Bar>) -> Result<Value> {
        let tokens = self.new_tokens(model);
        let side = |quantize: &str| {
            let mut command = self.bench.program("bench-decode");
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
    fn steady(&self, dir: &Path, bars: &mut Vec<Bar>) -> Result<()> {
        let mut command = self.bench.program("bench-decode");
        let decoded = self.ask(&mut command, dir, "bfloat16", STEADY_TOKENS.div_ceil(3))?;
        let [early, late] = decoded.private_kib.context("`bench-decode` gives private_kib")?;
        let grown = late.saturating_sub(early);
        let what =
            format!("private memory over {STEADY_TOKENS} tokens grows by under {STEADY_KIB} KiB: {grown}");
        bars.push(Bar { what, met: grown < STEADY_KIB });
        Ok(())
    }
}
