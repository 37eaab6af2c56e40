//! Qwen2 and Qwen2.5 (transformers `models/qwen2/configuration_qwen2.py`): biases on q, k and v.

use serde::Deserialize;
use serde_json::Map;

use crate::family::read_keys;
use crate::{DecoderSpec, Family, ModelError};

pub(super) const FAMILY: Family = Family {
    model_type: "qwen2",
    architecture: "Qwen2ForCausalLM",
    gguf_architecture: "qwen2",
    gguf_pairs: false,
    has_meta_format: false,
    max_position_embeddings: 32_768,
    head_dim: None,
    read: |text| {
        read_keys::<SlidingWindow>(text)?.refuse()?;
        Ok(DecoderSpec { qkv_bias: true, ..DecoderSpec::default() })
    },
    write: |_| Map::new(),
};

/// Keys that limit the attention of some layers to the last tokens; published models have it switched off.
#[derive(Deserialize)]
#[expect(clippy::struct_field_names, reason = "the keys of the file")]
pub(super) struct SlidingWindow {
    #[serde(default)]
    use_sliding_window: bool,
    /// Layers before the first limited one; counts where `layer_types` is absent.
    max_window_layers: Option<usize>,
    num_hidden_layers: Option<usize>,
    layer_types: Option<Vec<String>>,
}

impl SlidingWindow {
    /// Refuses a model in which the attention of any layer is limited.
    pub(super) fn refuse(&self) -> Result<(), ModelError> {
        let is_limited = match &self.layer_types {
            Some(types) => types.iter().any(|layer| layer != "full_attention"),
            None => self.num_hidden_layers.unwrap_or(0) > self.max_window_layers.unwrap_or(28),
        };
        if self.use_sliding_window && is_limited {
            return Err(ModelError::config(
                "use_sliding_window",
                "true",
                "only attention to the whole text is supported",
            ));
        }
        Ok(())
    }
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
