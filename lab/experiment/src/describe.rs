//! `experiment.json`: what was run, on what.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::programs::read_json;
use super::results::write_atomically;
use super::run_file::Variant;
use super::setting::Setting;

/// Writes the description. A resumed experiment keeps its date.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn write(setting: &Setting, environment: &Value, command: &str) -> Result<()> {
    let path = setting.out.join("experiment.json");
    let mut environment = environment.clone();
    if let Some(date) = earlier_date(&path) {
        environment["date"] = date;
    }
    let variant = |variant: &Variant| {
        let Variant { name, label_en, label_zh, what_en, what_zh, .. } = variant;
        json!({
            "name": name, "label_en": label_en, "label_zh": label_zh, "what_en": what_en, "what_zh": what_zh,
        })
    };
    // A checkout with changes cannot be had again by its commit.
    let commit = environment["commit"].as_str().filter(|commit| !commit.contains(' '));
    let checkout = commit.map(|commit| format!("git checkout {commit}"));
    let commands: Vec<String> = checkout.into_iter().chain([command.to_owned()]).collect();
    let description = json!({
        "experiment": setting.file.experiment.name(),
        "title": setting.file.title,
        "profile": setting.profile_name,
        "run_file": setting.run_file_text,
        "variants": setting.file.variants.iter().map(variant).collect::<Vec<_>>(),
        "reference": setting.file.reference,
        "sizes": setting.sizes,
        "seeds": setting.seeds,
        "repeats": setting.repeats,
        "commands": commands,
        "environment": environment,
    });
    write_atomically(&path, &(serde_json::to_string_pretty(&description)? + "\n"))
}

fn earlier_date(path: &Path) -> Option<Value> {
    let earlier: Value = read_json(path).ok()?;
    earlier["environment"]["date"].as_str().map(Value::from)
}
