//! Modules of a model, which adapters are for, and linear layers, which quantising is of.

use std::collections::BTreeSet;

use llama_model::LlamaConfig;
use lora::{ModelShape, ModuleKind, ModuleShape};
use nn_core::ModulePath;

/// Embedding.
pub(crate) const EMBEDDING: &str = "model.embed_tokens";
/// Head, which a model with tied embeddings has in memory alone.
pub(crate) const HEAD: &str = "lm_head";

/// Lists every module of a model of this shape that an adapter may be for.
pub fn model_shape(config: &LlamaConfig) -> ModelShape {
    let module = |(name, shape): (String, Vec<i64>)| {
        let path = ModulePath::new(name.strip_suffix(".weight")?);
        let kind = match shape.as_slice() {
            [_] => ModuleKind::Norm,
            _ if path.as_str() == EMBEDDING => ModuleKind::Embedding,
            _ => ModuleKind::Linear,
        };
        Some(ModuleShape { path, kind, rows: shape[0], columns: shape.get(1).copied().unwrap_or(1) })
    };
    let mut modules: Vec<ModuleShape> = config.tensor_shapes().into_iter().filter_map(module).collect();
    let (embedding, head) = (ModulePath::new(EMBEDDING), ModulePath::new(HEAD));
    if config.tie_word_embeddings {
        modules.push(ModuleShape::linear(head.clone(), config.hidden_size, config.vocab_size));
    }
    let tied = config.tie_word_embeddings.then_some((embedding, head));
    ModelShape { modules, tied, is_quantized: false }
}

/// Lists the linear layers of the decoder.
pub fn linears(config: &LlamaConfig) -> Vec<ModuleShape> {
    let is_linear = |module: &ModuleShape| module.kind == ModuleKind::Linear && module.path.as_str() != HEAD;
    model_shape(config).modules.into_iter().filter(is_linear).collect()
}

/// Names the weights of those layers.
pub(crate) fn linear_weights(config: &LlamaConfig) -> BTreeSet<String> {
    linears(config).into_iter().map(|linear| format!("{}.weight", linear.path)).collect()
}
