//! `cargo xtask bench train`: its parts, its bars, and the file it writes.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::bars::report_bars;
use super::setting::{Measured, Part, SHARED, Setting, TrainArgs};
use super::{load, step, tokenize, whole};
use xtask::measure::cpu_name;
use xtask::output::{note, say};
use xtask::workspace::Workspace;
use xtask::{python, setup};

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
