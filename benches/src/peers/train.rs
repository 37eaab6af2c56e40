//! `cargo xtask bench train`: its parts, its bars, and the file it writes.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

use super::bars::report_bars;
use super::setting::{Measured, Part, Setting, TrainArgs};
use super::workbench::Workbench;
use super::{busy, growth, load, models, step, tokenize, whole};
use xtask::measure::cpu_name;
use xtask::output::{note, say};
use xtask::python;
use xtask::workspace::Workspace;

/// Runs a part; nothing comes back where it was skipped.
type RunPart = fn(&Setting<'_>) -> Result<Option<Measured>>;

pub(crate) fn run(workspace: &Workspace, args: &TrainArgs) -> Result<()> {
    let chosen = |part: Part| {
        let by_flag = match part {
            Part::Growth => args.growth,
            Part::Busy => args.busy_loops.is_some(),
            _ => false,
        };
        args.only.is_empty() || args.only.contains(&part) || by_flag
    };
    if [args.rounds, args.whole_rounds, args.steps, args.model_rounds, args.model_steps].contains(&0) {
        bail!("rounds and steps have to be at least 1");
    }
    if [Part::Step, Part::Models, Part::Busy, Part::Whole].into_iter().any(chosen) {
        python::check(&args.python, &["torch", "transformers", "peft"])?;
    }
    let bench = Workbench::new(workspace, args.threads)?;
    let setting = Setting {
        args,
        base_model: args
            .base_model
            .clone()
            .unwrap_or_else(|| bench.at_hand("models/stories15M-hf", "datasets/tiny-llama")),
        data_path: args
            .data_path
            .clone()
            .unwrap_or_else(|| bench.at_hand("alpaca/alpaca_mini_64.json", "datasets/mini_data.json")),
        bench,
    };
    say(&format!("model {}, records {}", setting.base_model.display(), setting.data_path.display()));

    let mut report = Map::new();
    report.insert("machine".to_owned(), json!({ "cpu": cpu_name(), "threads": setting.bench.threads }));
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    report.insert("base_model".to_owned(), json!(name(&setting.base_model)));
    report.insert("data_path".to_owned(), json!(name(&setting.data_path)));
    let mut bars = Vec::new();
    let parts: [(Part, &str, RunPart); 7] = [
        (Part::Step, "step", step::run),
        (Part::Models, "models", models::run),
        (Part::Growth, "growth", growth::run),
        (Part::Busy, "busy", busy::run),
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
    report_bars(&setting.bench.out.join("train.json"), &Value::Object(report), &bars)
}
