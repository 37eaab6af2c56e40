//! Every tensor of the output: shape and precision.

use std::collections::BTreeSet;

use ::merge::TensorPlan;
use anyhow::Result;
use llama_model::LlamaConfig;
use nn_core::Dtype;
use tch::Kind;

use super::adapters::linear_weights;
use super::settings::Precision;
use checkpoint::{Base, BaseWeights};

/// A model that is about to be written.
#[derive(Debug)]
pub(crate) struct Plan {
    /// Its shape.
    pub(crate) config: LlamaConfig,
    /// Its tensors, in the order of the model.
    pub(crate) tensors: Vec<TensorPlan>,
    /// Tokens that the tokenizer has and the base's embedding had not.
    pub(crate) added_tokens: i64,
    /// Tensors of the base that no LLaMA model reads.
    pub(crate) left_out: Vec<String>,
}

/// Embedding and head.
const OF_VOCABULARY: [&str; 2] = ["model.embed_tokens.weight", "lm_head.weight"];

impl Plan {
    /// Decides every tensor. `vocab_size` is the tokenizer's.
    pub(crate) fn new(
        base: &Base,
        weights: &BaseWeights<'_>,
        precision: Precision,
        vocab_size: Option<i64>,
    ) -> Result<Self> {
        let mut config = base.complete_config()?;
        let added_tokens = vocab_size.map_or(0, |size| (size - config.vocab_size).max(0));
        let uniform = base.stored_kind().unwrap_or(Kind::Half);
        let shapes = config.tensor_shapes();
        let quantised = match base.stored_quantization()? {
            Some(_) => linear_weights(&config),
            None => BTreeSet::new(),
        };
        let mut tensors = Vec::with_capacity(shapes.len());
        for (name, shape) in shapes {
            let stored = match weights {
                _ if quantised.contains(&name) => uniform,
                BaseWeights::HuggingFace(store) => store.info(&name).map(|info| info.kind)?,
                BaseWeights::Meta(_) | BaseWeights::Gguf(_) => uniform,
            };
            let kind = match precision {
                Precision::AsBase => stored,
                Precision::Of(kind) => kind,
                Precision::Q8_0 => Kind::Float,
            };
            let added_rows = if OF_VOCABULARY.contains(&name.as_str()) { added_tokens } else { 0 };
            tensors.push(TensorPlan { name, shape, added_rows, kind });
        }
        let left_out = match weights {
            BaseWeights::HuggingFace(store) => {
                let parts = |name: &str| {
                    name.rsplit_once(".weight")
                        .is_some_and(|(path, _)| quantised.contains(&format!("{path}.weight")))
                        || name
                            .strip_suffix(".SCB")
                            .is_some_and(|path| quantised.contains(&format!("{path}.weight")))
                };
                let known = |name: &str| tensors.iter().any(|tensor| tensor.name == name) || parts(name);
                store.names().filter(|name| !known(name)).map(str::to_owned).collect()
            }
            BaseWeights::Meta(_) | BaseWeights::Gguf(_) => Vec::new(),
        };
        config.vocab_size += added_tokens;
        let plan = Self { config, tensors, added_tokens, left_out };
        Ok(Self { config: LlamaConfig { torch_dtype: Some(plan.dtype().to_owned()), ..plan.config }, ..plan })
    }

    /// PyTorch's name of the precision of the linear layers.
    pub(crate) fn dtype(&self) -> &'static str {
        Dtype::name_of(self.kind())
    }

    /// The precision of the linear layers.
    pub(crate) fn kind(&self) -> Kind {
        let linear = self.tensors.iter().find(|tensor| tensor.name.ends_with("q_proj.weight"));
        linear.map_or(Kind::Float, |tensor| tensor.kind)
    }
}
