//! `merge_report.json`: the base, the adapters and the proof of a merge, beside its files.

use std::path::Path;

use checkpoint::{AdapterDir, MergePlan, MergedFiles};
use qlora_nf4::Quantization;
use serde::Serialize;
use serde_json::{Value, json};
use weights::atomic_write;

use crate::error::io;
use crate::{FinetuneError, Verification};

/// The file in the output directory.
const FILE: &str = "merge_report.json";

/// Writes the report of a merge beside its files, before they take their name.
///
/// # Errors
/// [`FinetuneError::Io`] and [`FinetuneError::Weights`] when the disk refuses.
pub fn write_merge_report(
    plan: &MergePlan<'_>,
    adapters: &[AdapterDir],
    written: &MergedFiles,
    verification: Option<&Verification>,
) -> Result<(), FinetuneError> {
    let path = written.path().join(FILE);
    let report = report(plan, adapters, written, verification).map_err(io("write", &path))?;
    Ok(atomic_write(&path, |file| writeln!(file, "{report}"))?)
}

fn report(
    plan: &MergePlan<'_>,
    adapters: &[AdapterDir],
    written: &MergedFiles,
    verification: Option<&Verification>,
) -> Result<String, std::io::Error> {
    let (merge, proof) = (plan.settings(), written.proof());
    let adapters: Vec<Value> = adapters
        .iter()
        .map(|adapter| json!({"dir": adapter.dir.display().to_string(), "weight": adapter.weight}))
        .collect();
    let targets = proof.targets.iter().map(|target| {
        let mut value = serde_json::to_value(target)?;
        value["fraction_changed"] = target.fraction_changed().into();
        Ok(value)
    });
    let report = json!({
        "base_model": plan.base().name,
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
        "targets": targets.collect::<Result<Vec<_>, std::io::Error>>()?,
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
fn sizes(dir: &Path) -> Result<Vec<FileSize>, std::io::Error> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        files.push(FileSize { name, bytes: entry.metadata()?.len() });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}
