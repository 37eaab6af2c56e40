//! LLaMA 1 to 3 and all that kept their shape (transformers `models/llama/configuration_llama.py`).

use serde::Serialize;

use crate::family::write_keys;
use crate::{DecoderSpec, Family};

pub(super) const FAMILY: Family = Family {
    model_type: "llama",
    architecture: "LlamaForCausalLM",
    gguf_architecture: "llama",
    gguf_pairs: true,
    has_meta_format: true,
    max_position_embeddings: 2048,
    head_dim: None,
    read: |fields| {
        let attention_bias = fields.flag("attention_bias")?;
        Ok(DecoderSpec {
            qkv_bias: attention_bias,
            o_bias: attention_bias,
            mlp_bias: fields.flag("mlp_bias")?,
            ..DecoderSpec::default()
        })
    },
    write: |spec| write_keys(&Keys { attention_bias: spec.qkv_bias, mlp_bias: spec.mlp_bias }),
};

#[derive(Serialize)]
struct Keys {
    /// Biases on q, k, v and o.
    attention_bias: bool,
    mlp_bias: bool,
}
