//! `unmerge`: the adapter between two checkpoints.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use ::merge::{Extracted, unmerge};
use anyhow::{Context, Result, bail};
use checkpoint::{Base, linears};
use clap::Parser;
use lora::{Adapter, AdapterLayer, LoraConfig, TargetModules};
use nn_core::{LinearSource, ModulePath};
use serde_json::json;
use tch::{Device, Kind, no_grad};
use weights::{AtomicDir, atomic_write};

use crate::exit::usage;
use crate::output::print;
use llama_finetune::set_threads;

/// Extracts the adapter of rank r between two checkpoints, by singular value decomposition of the difference of each linear
/// layer, and reports what rank r cannot hold.
///
/// Every flag may be spelled with `_` or `-`.
#[derive(Debug, Parser)]
#[command(name = "unmerge", version, max_term_width = 100)]
pub struct UnmergeArgs {
    /// The base model [required]
    #[arg(long = "base_model", value_name = "MODEL", env = "BASE_MODEL")]
    base_model: Option<String>,
    /// The model that came of it [required]
    #[arg(long = "merged_model", value_name = "MODEL")]
    merged_model: Option<String>,
    /// Directory of the adapter to write; it must not exist yet [required]
    #[arg(long = "output_dir", value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Rank
    #[arg(long = "lora_r", alias = "r", value_name = "N", default_value_t = 8)]
    lora_r: i64,
    /// Alpha that is written; the factors are such that alpha / r times their product is the difference
    #[arg(long = "lora_alpha", value_name = "X", default_value_t = 16.0)]
    lora_alpha: f64,
    /// CPU threads [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// Runs the program.
///
/// # Errors
/// With what the user can do about it.
pub fn run(args: UnmergeArgs) -> Result<()> {
    let UnmergeArgs { base_model, merged_model, output_dir, lora_r, lora_alpha, threads } = args;
    let need = |name: &str, value: Option<String>| {
        value
            .filter(|value| !value.trim().is_empty())
            .ok_or_else(|| usage(format!("{name} is missing: give --{name} MODEL")))
    };
    let (base_name, merged_name) = (need("base_model", base_model)?, need("merged_model", merged_model)?);
    let output_dir = output_dir.ok_or_else(|| usage("output_dir is missing: give --output_dir DIR"))?;
    if output_dir.exists() {
        return Err(usage(format!("output_dir `{}` exists already", output_dir.display())));
    }
    if lora_r < 1 {
        return Err(usage(format!("lora_r is {lora_r}; it has to be at least 1")));
    }
    if !lora_alpha.is_finite() || lora_alpha <= 0.0 {
        return Err(usage(format!("lora_alpha is {lora_alpha}; it has to be more than 0")));
    }
    set_threads(threads)?;
    let (base, merged) = (Base::open(&base_name)?, Base::open(&merged_name)?);
    let found = no_grad(|| extract(&base, &merged, lora_r, lora_alpha / lora_r as f64))?;
    let elsewhere = changed_elsewhere(&base, &merged)?;
    for name in &elsewhere {
        tracing::warn!("`{name}` differs too, which no adapter of linear layers can hold");
    }
    if found.is_empty() {
        bail!(
            "no linear layer of `{merged_name}` differs from `{base_name}`: there is no adapter between them"
        );
    }
    let config = LoraConfig {
        r: lora_r,
        lora_alpha,
        base_model_name_or_path: Some(base_name),
        target_modules: Some(targets(&base, &found)),
        ..LoraConfig::default()
    };
    let dir = AtomicDir::create(&output_dir)?;
    write(dir.path(), &config, &found, &elsewhere)?;
    dir.commit()?;
    print(&table(&found));
    print(&format!("{}\n", output_dir.display()));
    Ok(())
}

/// The factors of every linear layer that differs.
fn extract(base: &Base, merged: &Base, r: i64, scale: f64) -> Result<Vec<Extracted>> {
    let (from, to) = (base.source(Device::Cpu, None)?, merged.source(Device::Cpu, None)?);
    let mut found = Vec::new();
    for linear in linears(&base.config) {
        let (name, shape) = (format!("{}.weight", linear.path), [linear.out_features, linear.in_features]);
        let before = from.tensor(&name, &shape)?;
        let after = to.tensor(&name, &shape).with_context(|| {
            format!("`{}` is not of the shape of `{}`", merged.dir.display(), base.dir.display())
        })?;
        if let Some(extracted) = unmerge(&name, &before, &after, r, scale)? {
            found.push(extracted);
        }
    }
    Ok(found)
}

/// Tensors other than linear layers that are not equal.
fn changed_elsewhere(base: &Base, merged: &Base) -> Result<Vec<String>> {
    let (from, to) =
        (base.source(Device::Cpu, Some(Kind::Float))?, merged.source(Device::Cpu, Some(Kind::Float))?);
    let linears = linears(&base.config);
    let is_linear = |name: &str| {
        name.strip_suffix(".weight")
            .is_some_and(|path| linears.iter().any(|l| l.path == ModulePath::new(path)))
    };
    let mut changed = Vec::new();
    for (name, shape) in base.config.tensor_shapes() {
        if is_linear(&name) {
            continue;
        }
        let same =
            to.tensor(&name, &shape).is_ok_and(|after| from.tensor(&name, &shape).is_ok_and(|b| b == after));
        if !same {
            changed.push(name);
        }
    }
    Ok(changed)
}

/// Leaf names where all layers of these names differ, else every path.
fn targets(base: &Base, found: &[Extracted]) -> TargetModules {
    let mut leaves: Vec<&str> = found.iter().map(|found| found.layer.path.leaf()).collect();
    leaves.sort_unstable();
    leaves.dedup();
    let meant = linears(&base.config).iter().filter(|linear| leaves.contains(&linear.path.leaf())).count();
    let names = if meant == found.len() {
        leaves.into_iter().map(str::to_owned).collect()
    } else {
        found.iter().map(|found| found.layer.path.to_string()).collect()
    };
    TargetModules::Names(names)
}

fn write(dir: &Path, config: &LoraConfig, found: &[Extracted], elsewhere: &[String]) -> Result<()> {
    let layers: Vec<AdapterLayer> = found.iter().map(|found| found.layer.shallow_clone()).collect();
    Adapter::write(dir, config, &layers)?;
    let lines = found.iter().map(|found| {
        json!({"name": found.layer.path.as_str(), "delta_norm": found.delta_norm, "residual_norm": found.residual_norm})
    });
    let report = json!({
        "targets": lines.collect::<Vec<_>>(),
        "changed_elsewhere": elsewhere,
    });
    let text = serde_json::to_string_pretty(&report)?;
    Ok(atomic_write(&dir.join("unmerge_report.json"), |file| file.write_all(text.as_bytes()))?)
}

fn table(found: &[Extracted]) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{:<44} {:>14} {:>14} {:>9}", "layer", "norm of delta", "residual", "of delta");
    for Extracted { layer, delta_norm, residual_norm } in found {
        let part = 100.0 * residual_norm / delta_norm;
        let _ = writeln!(
            text,
            "{:<44} {delta_norm:>14.5} {residual_norm:>14.2e} {part:>7.2} %",
            layer.path.as_str()
        );
    }
    let root =
        |values: &dyn Fn(&Extracted) -> f64| found.iter().map(|f| values(f).powi(2)).sum::<f64>().sqrt();
    let (delta, residual) = (root(&|f| f.delta_norm), root(&|f| f.residual_norm));
    let part = 100.0 * residual / delta;
    let _ = writeln!(text, "{:<44} {delta:>14.5} {residual:>14.2e} {part:>7.2} %", "all");
    text
}
