//! `params.json`, in which Meta states a shape.

use std::path::Path;

use llama_model::{DecoderSpec, LlamaConfig, RopeScaling};
use nn_core::{SettingRole, SettingTable, Settings, UnknownSettings};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::feed_forward::{multiple_and_multiplier, width};
use super::parts::refuse;
use crate::CheckpointError;

/// Fields that Meta's releases write (`llama/model.py` and `llama_models/llama3/args.py`, `ModelArgs`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(super) struct Params {
    dim: i64,
    n_layers: usize,
    n_heads: i64,
    n_kv_heads: Option<i64>,
    /// -1 where the tokenizer decides.
    vocab_size: Option<i64>,
    multiple_of: Option<i64>,
    ffn_dim_multiplier: Option<f64>,
    norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    #[serde(default)]
    use_scaled_rope: bool,
    rope_scaling_factor: Option<f64>,
    rope_high_freq_factor: Option<f64>,
    max_seq_len: Option<i64>,
}

/// Keys of Meta's files: those above, and those of their readers (`llama_models/llama3/args.py`).
const KEYS: &SettingTable = &[
    ("dim", SettingRole::Used),
    ("n_layers", SettingRole::Used),
    ("n_heads", SettingRole::Used),
    ("n_kv_heads", SettingRole::Used),
    ("vocab_size", SettingRole::Used),
    ("multiple_of", SettingRole::Used),
    ("ffn_dim_multiplier", SettingRole::Used),
    ("norm_eps", SettingRole::Used),
    ("rope_theta", SettingRole::Used),
    ("use_scaled_rope", SettingRole::Used),
    ("rope_scaling_factor", SettingRole::Used),
    ("rope_high_freq_factor", SettingRole::Used),
    ("max_seq_len", SettingRole::Used),
    ("max_batch_size", SettingRole::Harmless),
    ("model_parallel_size", SettingRole::Harmless),
    ("quantization_args", SettingRole::refused(QUANTISED)),
    ("lora_args", SettingRole::refused(QUANTISED)),
    ("moe_args", SettingRole::refused("mixtures of experts are not supported")),
    ("vision_args", SettingRole::refused("only models of text are supported")),
    ("use_qk_norm", SettingRole::refused("norms on q and k are not supported")),
    ("attention_chunk_size", SettingRole::refused("attention has to be to the whole text")),
    ("nope_layer_interval", SettingRole::refused("every layer has to rotate its heads")),
];
const QUANTISED: &str = "only Meta's plain weights are supported; take the original release of the model";

impl Params {
    /// Reads the text of the file at `path`.
    ///
    /// # Errors
    /// [`CheckpointError::Params`] when it is not Meta's, and for a key that is not supported or, unless `unknown` ignores it, not
    /// known.
    pub(super) fn read(path: &Path, text: &str, unknown: UnknownSettings) -> Result<Self, CheckpointError> {
        let malformed = |source| CheckpointError::Params { path: path.to_owned(), source };
        let keys: Map<String, Value> = serde_json::from_str(text).map_err(malformed)?;
        for note in (Settings { file: path, within: "", fields: &keys }).check(KEYS, unknown)? {
            tracing::warn!("`{}`: {note}", path.display());
        }
        serde_json::from_str(text).map_err(malformed)
    }

    /// Returns the shape; `vocab_size` and `intermediate_size` are those of the tensors, where these are known, and else as
    /// `ModelArgs` and `FeedForward` compute them.
    pub(super) fn config(&self, vocab_size: Option<i64>, intermediate_size: Option<i64>) -> LlamaConfig {
        let vocab_size = vocab_size.or(self.vocab_size).unwrap_or(-1);
        let intermediate_size = intermediate_size
            .unwrap_or_else(|| width(self.dim, self.multiple_of.unwrap_or(256), self.ffn_dim_multiplier));
        let norm_eps = self.norm_eps.unwrap_or(1e-5);
        let theta = self.rope_theta.unwrap_or(10_000.0);
        // The context each generation was trained with; the file does not say.
        let context = match (theta, self.use_scaled_rope) {
            (_, true) => 131_072,
            (theta, false) if theta >= 1e6 => 16_384,
            (theta, false) if theta >= 5e5 => 8192,
            _ if norm_eps > 5e-6 => 4096,
            _ => 2048,
        };
        LlamaConfig {
            num_key_value_heads: self.n_kv_heads.unwrap_or(self.n_heads),
            max_position_embeddings: self.max_seq_len.unwrap_or(context),
            rms_norm_eps: norm_eps,
            rope_theta: theta,
            rope_scaling: self.use_scaled_rope.then(|| RopeScaling::Llama3 {
                factor: self.rope_scaling_factor.unwrap_or(8.0),
                low_freq_factor: 1.0,
                high_freq_factor: self.rope_high_freq_factor.unwrap_or(4.0),
                original_max_position_embeddings: 8192,
            }),
            // The tokenizer's.
            bos_token_id: None,
            eos_token_id: None,
            ..LlamaConfig::new(vocab_size, self.dim, intermediate_size, self.n_layers, self.n_heads)
        }
    }
}

/// Makes the text of the `params.json` of this shape. With `vocab_of_tokenizer` it says -1, which is to take the tokenizer's
/// size, as Meta's first releases do. What is Meta's default is left out, so that the code of each release reads it.
///
/// # Errors
/// [`CheckpointError::Unwritable`] for a shape that Meta's code cannot have: biases, heads of a width of their own, other ways
/// of stretching rotary frequencies.
pub(super) fn params_json(config: &LlamaConfig, vocab_of_tokenizer: bool) -> Result<String, CheckpointError> {
    let plain = "Meta's code has no setting for it";
    if !config.family.has_meta_format {
        let expected = "Meta's format is for LLaMA models alone; hf and gguf can hold this one";
        return Err(refuse("model_type", config.family.model_type, expected));
    }
    let DecoderSpec { qkv_bias, o_bias, mlp_bias, .. } = config.decoder;
    for (field, set) in [("attention_bias", qkv_bias || o_bias), ("mlp_bias", mlp_bias)] {
        if set {
            return Err(refuse(field, "true", plain));
        }
    }
    if config.head_dim * config.num_attention_heads != config.hidden_size {
        return Err(refuse("head_dim", &config.head_dim.to_string(), plain));
    }
    let mut params = Map::new();
    let mut put = |key: &str, value: Value| params.insert(key.to_owned(), value);
    put("dim", config.hidden_size.into());
    let (multiple_of, multiplier) = multiple_and_multiplier(config.hidden_size, config.intermediate_size);
    put("multiple_of", multiple_of.into());
    if let Some(multiplier) = multiplier {
        put("ffn_dim_multiplier", multiplier.into());
    }
    put("n_heads", config.num_attention_heads.into());
    if config.num_key_value_heads != config.num_attention_heads {
        put("n_kv_heads", config.num_key_value_heads.into());
    }
    put("n_layers", config.num_hidden_layers.into());
    put("norm_eps", config.rms_norm_eps.into());
    put("vocab_size", if vocab_of_tokenizer { json!(-1) } else { config.vocab_size.into() });
    #[expect(clippy::float_cmp, reason = "a constant, not a result")]
    if config.rope_theta != 10_000.0 {
        put("rope_theta", config.rope_theta.into());
    }
    match config.rope_scaling {
        None => {}
        Some(RopeScaling::Llama3 {
            factor,
            low_freq_factor: 1.0,
            high_freq_factor,
            original_max_position_embeddings: 8192,
        }) => {
            put("use_scaled_rope", true.into());
            #[expect(clippy::float_cmp, reason = "constants, not results")]
            if factor != 8.0 {
                put("rope_scaling_factor", factor.into());
            }
            #[expect(clippy::float_cmp, reason = "constants, not results")]
            if high_freq_factor != 4.0 {
                put("rope_high_freq_factor", high_freq_factor.into());
            }
        }
        Some(ref other) => return Err(refuse("rope_scaling", &format!("{other:?}"), plain)),
    }
    Ok(serde_json::to_string_pretty(&params).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use llama_model::preset;

    fn config(json: &str, vocab_size: i64) -> LlamaConfig {
        serde_json::from_str::<Params>(json).unwrap().config(Some(vocab_size), None)
    }

    /// Compares the file and the preset of the same model, but for the special tokens.
    fn assert_is(json: &str, name: &str) {
        let expected = preset(name).unwrap();
        let config = LlamaConfig {
            bos_token_id: expected.bos_token_id,
            eos_token_id: expected.eos_token_id.clone(),
            ..config(json, expected.vocab_size)
        };
        assert_eq!(config, expected);
    }

    #[test]
    fn the_files_of_the_releases_state_their_known_shapes() {
        assert_is(
            r#"{"dim": 4096, "multiple_of": 256, "n_heads": 32, "n_layers": 32, "norm_eps": 1e-06, "vocab_size": -1}"#,
            "7b",
        );
        assert_is(
            r#"{"dim": 4096, "multiple_of": 256, "n_heads": 32, "n_layers": 32, "norm_eps": 1e-05, "vocab_size": -1}"#,
            "llama2-7b",
        );
        assert_is(
            r#"{"dim": 4096, "n_layers": 32, "n_heads": 32, "n_kv_heads": 8, "vocab_size": 128256, "multiple_of": 1024,
                "ffn_dim_multiplier": 1.3, "norm_eps": 1e-05, "rope_theta": 500000.0}"#,
            "llama3-8b",
        );
        let large = r#"{"dim": 8192, "multiple_of": 4096, "ffn_dim_multiplier": 1.3, "n_heads": 64, "n_kv_heads": 8,
            "n_layers": 80, "norm_eps": 1e-05, "vocab_size": -1}"#;
        assert_eq!(config(large, 32_000).intermediate_size, 28_672);
    }

    #[test]
    fn the_shapes_of_the_releases_are_written_as_the_releases_write_them() {
        let value = |name: &str| -> Value {
            serde_json::from_str(&params_json(&preset(name).unwrap(), true).unwrap()).unwrap()
        };
        assert_eq!(
            value("7b"),
            json!({"dim": 4096, "multiple_of": 256, "n_heads": 32, "n_layers": 32, "norm_eps": 1e-6, "vocab_size": -1})
        );
        assert_eq!(
            value("llama3-8b"),
            json!({"dim": 4096, "multiple_of": 1024, "ffn_dim_multiplier": 1.3, "n_heads": 32, "n_kv_heads": 8,
                   "n_layers": 32, "norm_eps": 1e-5, "vocab_size": -1, "rope_theta": 500_000.0})
        );
    }

    #[test]
    fn a_key_that_could_change_the_result_is_refused() {
        let plain = r#"{"dim": 64, "n_layers": 1, "n_heads": 2, "max_batch_size": 8"#;
        for (extra, named) in
            [("\"use_magic\": true", "use_magic"), ("\"lora_args\": {\"rank\": 16}", "lora_args")]
        {
            let text = format!("{plain}, {extra}}}");
            let read = |unknown| Params::read(Path::new("params.json"), &text, unknown);
            let error = read(UnknownSettings::Refuse).unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
            assert_eq!(read(UnknownSettings::Ignore).is_ok(), named == "use_magic");
        }
        Params::read(Path::new("params.json"), &format!("{plain}}}"), UnknownSettings::Refuse).unwrap();
    }

    #[test]
    fn what_meta_cannot_state_is_refused_by_field() {
        let config = preset("7b").unwrap();
        for (config, field) in [
            (
                LlamaConfig { decoder: DecoderSpec { qkv_bias: true, ..config.decoder }, ..config.clone() },
                "attention_bias",
            ),
            (LlamaConfig { head_dim: 64, ..config.clone() }, "head_dim"),
            (
                LlamaConfig { rope_scaling: Some(RopeScaling::Linear { factor: 2.0 }), ..config.clone() },
                "rope_scaling",
            ),
        ] {
            let error = params_json(&config, true).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
