//! Linear layers of a model, which adapters are for and quantising is of.

use std::collections::BTreeSet;

use llama_model::LlamaConfig;
use lora::LinearShape;
use nn_core::ModulePath;

/// Lists every linear layer of a model of this shape that an adapter may be for.
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

/// Names the weights of those layers.
pub(crate) fn linear_weights(config: &LlamaConfig) -> BTreeSet<String> {
    linears(config).into_iter().map(|linear| format!("{}.weight", linear.path)).collect()
}
