//! `cargo xtask bench train`: its parts, its bars, and the file it writes.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use super::bars::{Bar, report_bars};
use super::{load, step, tokenize, whole};
use xtask::measure::cpu_name;
use xtask::output::{note, say};
use xtask::workspace::Workspace;
use xtask::{python, setup};

/// Large models and data that are not committed lie here, where somebody has put them.
const SHARED: &str = "../shared/data";

#[derive(Debug, Clone, Args)]
pub(crate) struct TrainArgs {
    /// Python with torch 2.11.0, transformers and peft
    #[arg(long, value_name = "PATH", default_value = "python3")]
    pub(crate) python: String,
    /// Directory of the base model [default: stories15M where it is at hand, else the embedded model]
    #[arg(long = "base_model", alias = "base-model", value_name = "DIR")]
    pub(crate) base_model: Option<PathBuf>,
    /// Records [default: 64 records of Alpaca where they are at hand, else our own 64]
    #[arg(long = "data_path", alias = "data-path", value_name = "FILE")]
    pub(crate) data_path: Option<PathBuf>,
    /// Records that are tokenised [default: all of Alpaca where it is at hand, else none]
    #[arg(long = "tokenize_path", alias = "tokenize-path", value_name = "FILE")]
    pub(crate) tokenize_path: Option<PathBuf>,
    /// Rounds of the step comparison
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) rounds: usize,
    /// Timed steps in a round
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(crate) steps: usize,
    /// Rounds of the comparison of whole processes
    #[arg(long = "whole_rounds", alias = "whole-rounds", value_name = "N", default_value_t = 3)]
    pub(crate) whole_rounds: usize,
    /// CPU threads of both sides [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Run these parts only
    #[arg(long, value_name = "PART", value_delimiter = ',')]
    pub(crate) only: Vec<Part>,
    /// Load a 7B too: 13.5 GB of random weights are written first
    #[arg(long = "with_7b", alias = "with-7b")]
    pub(crate) with_7b: bool,
    /// Keep the 7B's files
    #[arg(long)]
    pub(crate) keep: bool,
}

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// One training step, beside Python's.
    Step,
    /// A whole fine-tuning process, beside Python's.
    Whole,
    /// Tokenising.
    Tokenize,
    /// Loading a 7B, with the flag for it.
    Load,
}

/// What every part needs to know.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) workspace: &'a Workspace,
    pub(crate) args: &'a TrainArgs,
    /// Directory of our programs.
    pub(crate) bin: PathBuf,
    pub(crate) base_model: PathBuf,
    pub(crate) data_path: PathBuf,
    /// Where results go.
    pub(crate) out: PathBuf,
    pub(crate) threads: usize,
}

/// What a part measured, for the file, and its bars.
pub(crate) type Measured = (Value, Vec<Bar>);

/// Runs a part; nothing comes back where it was skipped.
type RunPart = fn(&Setting<'_>) -> Result<Option<Measured>>;

pub(crate) fn run(workspace: &Workspace, args: &TrainArgs) -> Result<()> {
    let chosen = |part: Part| args.only.is_empty() || args.only.contains(&part);
    if args.rounds == 0 || args.whole_rounds == 0 || args.steps == 0 {
        bail!("rounds, whole_rounds and steps have to be at least 1");
    }
    if chosen(Part::Step) || chosen(Part::Whole) {
        python::check(&args.python, &["torch", "transformers", "peft"])?;
    }
    setup::ensure(workspace)?;
    let out = workspace.path("target/bench");
    fs::create_dir_all(&out).with_context(|| format!("cannot create `{}`", out.display()))?;
    let at_hand = |shared: &str, own: &str| {
        let path = workspace.path(SHARED).join(shared);
        if path.exists() { path } else { workspace.path(own) }
    };
    let setting = Setting {
        workspace,
        args,
        bin: workspace.release_binaries()?,
        base_model: args
            .base_model
            .clone()
            .unwrap_or_else(|| at_hand("models/stories15M-hf", "datasets/tiny-llama")),
        data_path: args
            .data_path
            .clone()
            .unwrap_or_else(|| at_hand("alpaca/alpaca_mini_64.json", "datasets/mini_data.json")),
        out,
        threads: args.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from)),
    };
    say(&format!(
        "model {}, records {}, {} threads, {}",
        setting.base_model.display(),
        setting.data_path.display(),
        setting.threads,
        cpu_name()
    ));

    let mut report = Map::new();
    report.insert("machine".to_owned(), json!({ "cpu": cpu_name(), "threads": setting.threads }));
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    report.insert("base_model".to_owned(), json!(name(&setting.base_model)));
    report.insert("data_path".to_owned(), json!(name(&setting.data_path)));
    let mut bars = Vec::new();
    let parts: [(Part, &str, RunPart); 4] = [
        (Part::Step, "step", step::run),
        (Part::Whole, "whole", whole::run),
        (Part::Tokenize, "tokenize", tokenize::run),
        (Part::Load, "load", load::run),
    ];
    for (part, name, run) in parts {
        if !chosen(part) {
            continue;
        }
        note(&format!("\n[{name}]"));
        if let Some((measured, more)) =
            run(&setting).with_context(|| format!("bench part `{name}` failed"))?
        {
            report.insert(name.to_owned(), measured);
            bars.extend(more);
        }
    }
    report_bars(&setting.out.join("train.json"), &Value::Object(report), &bars)
}

impl Setting<'_> {
    /// One of our programs.
    pub(crate) fn program(&self, name: &str) -> std::process::Command {
        self.workspace.command(self.bin.join(name))
    }

    /// A committed script in the user's Python, which reaches for no hub.
    pub(crate) fn script(&self, name: &str) -> std::process::Command {
        let mut command = self.workspace.command(&self.args.python);
        command.arg(self.workspace.path("benches").join(name));
        command.env("HF_HUB_OFFLINE", "1").env("TOKENIZERS_PARALLELISM", "false");
        command
    }

    /// Records to tokenise: many, where they are at hand.
    pub(crate) fn many_records(&self) -> Option<PathBuf> {
        let shared = self.workspace.path(SHARED).join("alpaca/alpaca_data.json");
        self.args.tokenize_path.clone().or_else(|| shared.exists().then_some(shared))
    }
}
