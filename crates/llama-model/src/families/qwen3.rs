//! Qwen3 (transformers `models/qwen3/configuration_qwen3.py`): norms on the heads of q and k, whose width is a setting.

use serde::Serialize;

use super::qwen2::refuse_sliding_window;
use crate::family::write_keys;
use crate::{DecoderSpec, Family};

pub(super) const FAMILY: Family = Family {
    model_type: "qwen3",
    architecture: "Qwen3ForCausalLM",
    gguf_architecture: "qwen3",
    gguf_pairs: false,
    has_meta_format: false,
    max_position_embeddings: 32_768,
    head_dim: Some(128),
    read: |fields| {
        refuse_sliding_window(fields)?;
        let attention_bias = fields.flag("attention_bias")?;
        Ok(DecoderSpec {
            qkv_bias: attention_bias,
            o_bias: attention_bias,
            qk_norm: true,
            ..DecoderSpec::default()
        })
    },
    write: |spec| write_keys(&Keys { attention_bias: spec.qkv_bias }),
};

#[derive(Serialize)]
struct Keys {
    /// Biases on q, k, v and o.
    attention_bias: bool,
}

#[cfg(test)]
mod tests {
    use crate::LlamaConfig;

    #[test]
    fn a_configuration_is_written_with_its_own_keys() {
        for bias in [false, true] {
            let text = format!(
                r#"{{"model_type": "qwen3", "vocab_size": 48, "hidden_size": 32, "intermediate_size": 64,
                    "num_hidden_layers": 2, "num_attention_heads": 4, "attention_bias": {bias}}}"#
            );
            let read = LlamaConfig::from_json(&text).unwrap();
            assert_eq!((read.head_dim, read.decoder.qk_norm, read.decoder.o_bias), (128, true, bias));
            let text = read.to_json();
            assert!(text.contains(r#""Qwen3ForCausalLM""#) && !text.contains("mlp_bias"), "{text}");
            assert_eq!(LlamaConfig::from_json(&text).unwrap(), read);
        }
    }
}
