//! The report of a merge, as a file and as a table.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use ::merge::{Proof, TargetProof};
use anyhow::{Context, Result};
use checkpoint::{MergePlan, MergedFiles};
use llama_finetune::Verification;
use qlora_nf4::Quantization;
use serde::Serialize;
use serde_json::{Value, json};

use super::settings::Settings;

/// The file in the output directory.
pub(crate) const FILE: &str = "merge_report.json";

/// Makes the contents of `merge_report.json`.
pub(crate) fn to_json(
    settings: &Settings,
    plan: &MergePlan<'_>,
    written: &MergedFiles,
    verification: Option<&Verification>,
) -> Result<String> {
    let (merge, proof) = (plan.settings(), written.proof());
    let adapters: Vec<Value> = settings
        .adapters
        .iter()
        .map(|adapter| json!({"dir": adapter.dir.display().to_string(), "weight": adapter.weight}))
        .collect();
    let targets = proof.targets.iter().map(|target| {
        let mut value = serde_json::to_value(target)?;
        value["fraction_changed"] = target.fraction_changed().into();
        Ok(value)
    });
    let report = json!({
        "base_model": settings.base_model,
        "adapters": adapters,
        "combination": merge.combination.name(),
        "scale": merge.scale,
        "dtype": plan.dtype(),
        "base_quantization": merge.base_quantization.map(Quantization::describe),
        "quantization": merge.quantization.map(Quantization::describe),
        "files": sizes(written.path())?,
        "added_tokens": plan.added_tokens(),
        "tensors_left_out": plan.left_out(),
        "tensors_unchanged": proof.untouched,
        "targets": targets.collect::<Result<Vec<_>>>()?,
        "verification": verification.map(serde_json::to_value).transpose()?,
    });
    Ok(serde_json::to_string_pretty(&report)?)
}

#[derive(Serialize)]
struct FileSize {
    name: String,
    bytes: u64,
}

/// Lists every file of the output and its size, by name.
fn sizes(dir: &Path) -> Result<Vec<FileSize>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read `{}`", dir.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.push(FileSize { name, bytes: entry.metadata()?.len() });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// Makes a table of the targets by the last part of their name, a line each.
pub(crate) fn table(proof: &Proof) -> String {
    let mut by_leaf: BTreeMap<&str, Vec<&TargetProof>> = BTreeMap::new();
    for target in &proof.targets {
        let path = target.name.trim_end_matches(".weight");
        by_leaf.entry(path.rsplit('.').next().unwrap_or(path)).or_default().push(target);
    }
    let mut text = String::new();
    if !by_leaf.is_empty() {
        let _ = writeln!(
            text,
            "{:<12} {:>6}  {:>22}  {:>10}  {:>18}",
            "target", "layers", "norm of delta", "of weight", "elements changed"
        );
    }
    for (leaf, targets) in by_leaf {
        let range = |of: &dyn Fn(&TargetProof) -> f64| {
            let values = targets.iter().map(|target| of(target));
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
        };
        let (low, high) = range(&|target| target.delta_norm);
        let (_, relative) = range(&|target| target.delta_norm / target.base_norm);
        let (least, most) = range(&TargetProof::fraction_changed);
        let norms = format!("{low:.4} to {high:.4}");
        let changed = format!("{:.1} to {:.1} %", 100.0 * least, 100.0 * most);
        let _ = writeln!(
            text,
            "{leaf:<12} {:>6}  {norms:>22}  {:>8.2} %  {changed:>18}",
            targets.len(),
            100.0 * relative
        );
    }
    let _ = writeln!(
        text,
        "{} targets changed, {} other tensors are as they were",
        proof.targets.len(),
        proof.untouched
    );
    text
}

/// Returns a line for each prompt of a verification.
pub(crate) fn verification_table(verification: &Verification) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{} texts become the tokens that they are with the base", verification.texts);
    for note in &verification.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let _ = writeln!(
        text,
        "{:<40} {:>14}  {:>10}  greedy tokens",
        format!("prompt (computed in {})", verification.computed_in),
        "largest logit",
        "KL, nats"
    );
    for prompt in &verification.prompts {
        let shown: String = prompt.prompt.lines().last().unwrap_or_default().chars().take(38).collect();
        let shown =
            if prompt.prompt.contains('\n') { "  the same, in the template".to_owned() } else { shown };
        let tokens = match prompt.first_diverging_token {
            None => format!("all {} equal", prompt.tokens),
            Some(first) => format!("{first} equal, then they part"),
        };
        let _ =
            writeln!(text, "{shown:<40} {:>14.3e}  {:>10.2e}  {tokens}", prompt.max_difference, prompt.kl);
    }
    text
}
