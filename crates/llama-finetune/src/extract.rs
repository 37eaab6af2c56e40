//! The adapter between two models: the way back from a merge.

use std::path::Path;

use checkpoint::{Base, linears};
use lora::{Adapter, AdapterLayer, LoraConfig, TargetModules};
use merge::{Extracted, unmerge};
use nn_core::ModulePath;
use serde_json::json;
use tch::{Device, Kind, no_grad};
use weights::atomic_write;

use crate::FinetuneError;

/// The report beside the adapter.
const REPORT: &str = "unmerge_report.json";

/// An adapter extracted from the difference of two models.
#[derive(Debug)]
pub struct ExtractedAdapter {
    /// PEFT's configuration of the adapter.
    pub config: LoraConfig,
    /// Every linear layer that differs, with what rank r cannot hold of the difference.
    pub layers: Vec<Extracted>,
    /// Tensors other than linear layers that differ; no adapter of linear layers can hold that.
    pub changed_elsewhere: Vec<String>,
}

impl ExtractedAdapter {
    /// Extracts the adapter of rank `r` between `base` and `merged`, by singular value decomposition of the difference of
    /// each linear layer. `lora_alpha / r` times the product of its factors is the difference.
    ///
    /// # Errors
    /// [`FinetuneError::Setting`] for a rank or an alpha that cannot be, [`FinetuneError::Shapes`] when the models have other shapes, [`FinetuneError::NoDifference`] when no linear layer
    /// differs.
    pub fn between(base: &Base, merged: &Base, r: i64, lora_alpha: f64) -> Result<Self, FinetuneError> {
        let wrong = |name, actual: &dyn ToString, expected| {
            Err(FinetuneError::Setting { name, actual: actual.to_string(), expected })
        };
        if r < 1 {
            return wrong("lora_r", &r, "at least 1");
        }
        if !lora_alpha.is_finite() || lora_alpha <= 0.0 {
            return wrong("lora_alpha", &lora_alpha, "more than 0");
        }
        let layers = no_grad(|| extract(base, merged, r, lora_alpha / r as f64))?;
        if layers.is_empty() {
            return Err(FinetuneError::NoDifference { merged: merged.name.clone(), base: base.name.clone() });
        }
        let config = LoraConfig {
            r,
            lora_alpha,
            base_model_name_or_path: Some(base.name.clone()),
            revision: base.revision(),
            target_modules: Some(targets(base, &layers)),
            ..LoraConfig::default()
        };
        Ok(Self { config, layers, changed_elsewhere: changed_elsewhere(base, merged)? })
    }

    /// Writes PEFT's files into the directory `dir`, and `unmerge_report.json`: the norm of every difference, and of what
    /// rank r cannot hold.
    ///
    /// # Errors
    /// [`FinetuneError::Lora`] and [`FinetuneError::Weights`] when the disk refuses.
    pub fn save(&self, dir: &Path) -> Result<(), FinetuneError> {
        let layers: Vec<AdapterLayer> = self.layers.iter().map(|found| found.layer.shallow_clone()).collect();
        Adapter::write(dir, &self.config, &layers)?;
        let lines = self.layers.iter().map(|found| {
            let Extracted { layer, delta_norm, residual_norm } = found;
            json!({"name": layer.path.as_str(), "delta_norm": delta_norm, "residual_norm": residual_norm})
        });
        let report = json!({
            "targets": lines.collect::<Vec<_>>(),
            "changed_elsewhere": self.changed_elsewhere,
        });
        Ok(atomic_write(&dir.join(REPORT), |file| write!(file, "{report:#}"))?)
    }
}

/// Computes the factors of every linear layer that differs.
fn extract(base: &Base, merged: &Base, r: i64, scale: f64) -> Result<Vec<Extracted>, FinetuneError> {
    let (before, after) = (base.source(Device::Cpu, None)?, merged.source(Device::Cpu, None)?);
    let mut found = Vec::new();
    for linear in linears(&base.config) {
        let (name, shape) = (format!("{}.weight", linear.path), [linear.rows, linear.columns]);
        let before = before.tensor(&name, &shape)?;
        let after = after.tensor(&name, &shape).map_err(|source| FinetuneError::Shapes {
            merged: merged.dir.clone(),
            base: base.dir.clone(),
            source: Box::new(source),
        })?;
        found.extend(unmerge(&name, &before, &after, r, scale)?);
    }
    Ok(found)
}

/// Lists the tensors other than linear layers that differ.
fn changed_elsewhere(base: &Base, merged: &Base) -> Result<Vec<String>, FinetuneError> {
    let kind = Some(Kind::Float);
    let (before, after) = (base.source(Device::Cpu, kind)?, merged.source(Device::Cpu, kind)?);
    let linears = linears(&base.config);
    let is_linear = |name: &str| {
        name.strip_suffix(".weight")
            .is_some_and(|path| linears.iter().any(|linear| linear.path == ModulePath::new(path)))
    };
    let others = base.config.tensor_shapes().into_iter().filter(|(name, _)| !is_linear(name));
    let differs = others.filter(|(name, shape)| {
        let pair = (before.tensor(name, shape), after.tensor(name, shape));
        !matches!(pair, (Ok(before), Ok(after)) if before == after)
    });
    Ok(differs.map(|(name, _)| name).collect())
}

/// Names the target modules: by their leaves where all layers of these names differ, else by every path.
fn targets(base: &Base, found: &[Extracted]) -> TargetModules {
    let mut leaves: Vec<&str> = found.iter().map(|found| found.layer.path.leaf()).collect();
    leaves.sort_unstable();
    leaves.dedup();
    let named = linears(&base.config).iter().filter(|linear| leaves.contains(&linear.path.leaf())).count();
    let names = if named == found.len() {
        leaves.into_iter().map(str::to_owned).collect()
    } else {
        found.iter().map(|found| found.layer.path.to_string()).collect()
    };
    TargetModules::Names(names)
}
