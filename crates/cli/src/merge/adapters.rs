//! The adapters of a merge, read for a base.

use std::collections::BTreeSet;

use ::merge::{Deltas, WeightedAdapter};
use anyhow::{Context, Result};
use llama_model::LlamaConfig;
use lora::{Adapter, LinearShape};
use nn_core::ModulePath;

use super::settings::Settings;

/// Every linear layer of a model of this shape that an adapter may be for.
pub fn linears(config: &LlamaConfig) -> Vec<LinearShape> {
    let layers = config.tensor_shapes().into_iter().filter_map(|(name, shape)| {
        let path = name.strip_suffix(".weight")?;
        match shape.as_slice() {
            &[out_features, in_features] if path.starts_with("model.layers.") => {
                Some(LinearShape { path: ModulePath::new(path), in_features, out_features })
            }
            _ => None,
        }
    });
    layers.collect()
}

/// The weights of those layers: what finetune quantises.
pub(crate) fn linear_weights(config: &LlamaConfig) -> BTreeSet<String> {
    linears(config).into_iter().map(|linear| format!("{}.weight", linear.path)).collect()
}

/// What the adapters add together.
pub(crate) fn read(settings: &Settings, config: &LlamaConfig) -> Result<Deltas> {
    let linears = linears(config);
    let mut adapters = Vec::with_capacity(settings.adapters.len());
    for spec in &settings.adapters {
        let layers = Adapter::read(&spec.dir).and_then(|adapter| adapter.trained_layers(&linears));
        let layers = layers.with_context(|| {
            format!("adapter `{}` does not fit base `{}`", spec.dir.display(), settings.base_model)
        })?;
        adapters.push(WeightedAdapter { layers, weight: spec.weight });
    }
    Ok(Deltas::new(adapters, settings.combination, settings.scale)?)
}
