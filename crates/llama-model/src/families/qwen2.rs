//! Qwen2 and Qwen2.5 (transformers `models/qwen2/configuration_qwen2.py`): biases on q, k and v.

use serde_json::{Map, Value};

use crate::fields::Fields;
use crate::{DecoderSpec, Family, ModelError};

pub(super) const FAMILY: Family = Family {
    model_type: "qwen2",
    architecture: "Qwen2ForCausalLM",
    gguf_architecture: "qwen2",
    gguf_pairs: false,
    has_meta_format: false,
    max_position_embeddings: 32_768,
    head_dim: None,
    read: |fields| {
        refuse_sliding_window(fields)?;
        Ok(DecoderSpec { qkv_bias: true, ..DecoderSpec::default() })
    },
    write: |_| Map::new(),
};

/// Refuses a model in which the attention of any layer is limited to the last tokens; published ones have that switched off. Which
/// layers it is, `layer_types` says, or `max_window_layers` where that is absent: the number of those before the first limited one.
pub(super) fn refuse_sliding_window(fields: Fields<'_>) -> Result<(), ModelError> {
    let before = fields.integer("max_window_layers")?.unwrap_or(28);
    let is_limited = match fields.get("layer_types").and_then(Value::as_array) {
        Some(types) => types.iter().any(|layer| layer != "full_attention"),
        None => fields.integer("num_hidden_layers")?.unwrap_or(0) > before,
    };
    if fields.flag("use_sliding_window")? && is_limited {
        return Err(fields.refuse("use_sliding_window", "only attention to the whole text is supported"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::LlamaConfig;

    fn config(extra: &str) -> String {
        format!(
            r#"{{"model_type": "qwen2", "vocab_size": 48, "hidden_size": 32, "intermediate_size": 64,
                "num_hidden_layers": 2, "num_attention_heads": 4 {extra}}}"#
        )
    }

    #[test]
    fn a_configuration_is_written_with_its_own_keys() {
        let read = LlamaConfig::from_json(&config("")).unwrap();
        assert!(read.decoder.qkv_bias && !read.decoder.o_bias);
        assert_eq!(read.max_position_embeddings, 32_768);
        let text = read.to_json();
        assert!(text.contains(r#""Qwen2ForCausalLM""#) && !text.contains("attention_bias"), "{text}");
        assert_eq!(LlamaConfig::from_json(&text).unwrap(), read);
    }

    #[test]
    fn an_active_sliding_window_is_refused() {
        let active = [
            r#", "use_sliding_window": true, "max_window_layers": 1"#,
            r#", "use_sliding_window": true, "layer_types": ["full_attention", "sliding_attention"]"#,
        ];
        for extra in active {
            let error = LlamaConfig::from_json(&config(extra)).unwrap_err().to_string();
            assert!(error.contains("`use_sliding_window` is true"), "{error}");
        }
        let inactive = [
            r#", "use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 0"#,
            r#", "use_sliding_window": true, "max_window_layers": 2"#,
        ];
        for extra in inactive {
            assert!(LlamaConfig::from_json(&config(extra)).is_ok(), "{extra}");
        }
    }
}
