//! `config.json`, as Hugging Face's checkpoints have it.

use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, json};

use crate::families::FAMILIES;
use crate::family::write_keys;
use crate::{Family, LlamaConfig, ModelError, RopeScaling, TokenIds};

/// `config.json` as it comes: what older and newer files leave out, and the two places the rotary settings may be in.
#[derive(Deserialize)]
struct RawConfig {
    model_type: Option<String>,
    hidden_act: Option<String>,
    vocab_size: i64,
    hidden_size: i64,
    intermediate_size: i64,
    num_hidden_layers: usize,
    num_attention_heads: i64,
    num_key_value_heads: Option<i64>,
    head_dim: Option<i64>,
    max_position_embeddings: Option<i64>,
    max_sequence_length: Option<i64>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RawRope>,
    rope_parameters: Option<RawRope>,
    #[serde(default)]
    tie_word_embeddings: bool,
    initializer_range: Option<f64>,
    bos_token_id: Option<i64>,
    eos_token_id: Option<TokenIds>,
    pad_token_id: Option<i64>,
    #[serde(alias = "dtype")]
    torch_dtype: Option<String>,
}

#[derive(Deserialize)]
struct RawRope {
    rope_type: Option<String>,
    /// The older name; some versions of transformers write both.
    #[serde(rename = "type")]
    old_type: Option<String>,
    rope_theta: Option<f64>,
    factor: Option<f64>,
    low_freq_factor: Option<f64>,
    high_freq_factor: Option<f64>,
    original_max_position_embeddings: Option<i64>,
}

impl RawRope {
    fn scaling(&self) -> Result<Option<RopeScaling>, ModelError> {
        let need = |field: &'static str, value: Option<f64>| {
            value.ok_or_else(|| ModelError::config(field, "missing", "this kind of rope_scaling needs it"))
        };
        match self.rope_type.as_deref().or(self.old_type.as_deref()).unwrap_or("default") {
            "default" => Ok(None),
            "linear" => Ok(Some(RopeScaling::Linear { factor: need("rope_scaling.factor", self.factor)? })),
            "llama3" => Ok(Some(RopeScaling::Llama3 {
                factor: need("rope_scaling.factor", self.factor)?,
                low_freq_factor: need("rope_scaling.low_freq_factor", self.low_freq_factor)?,
                high_freq_factor: need("rope_scaling.high_freq_factor", self.high_freq_factor)?,
                original_max_position_embeddings: self.original_max_position_embeddings.unwrap_or(8192),
            })),
            other => Err(ModelError::config(
                "rope_scaling.rope_type",
                other,
                "default, linear and llama3 are supported",
            )),
        }
    }
}

/// Finds the family of a `model_type`; a file without one is LLaMA's.
fn family_of(model_type: Option<&str>) -> Result<&'static Family, ModelError> {
    let Some(model_type) = model_type else { return Ok(FAMILIES[0]) };
    FAMILIES.iter().copied().find(|family| family.model_type == model_type).ok_or_else(|| {
        let known: Vec<&str> = FAMILIES.iter().map(|family| family.model_type).collect();
        let is = if known.len() == 1 { "is" } else { "are" };
        ModelError::config("model_type", model_type, format!("only {} {is} supported", known.join(", ")))
    })
}

impl LlamaConfig {
    /// Reads `config.json` in `dir`.
    ///
    /// # Errors
    /// [`ModelError`] when the file is missing, is no LLaMA configuration, or states something unsupported.
    pub fn from_dir(dir: &Path) -> Result<Self, ModelError> {
        let path = dir.join("config.json");
        let text = std::fs::read_to_string(&path)
            .map_err(|source| ModelError::Read { path: path.clone(), source })?;
        Self::from_json(&text).map_err(|error| match error {
            ModelError::Parse { source, .. } => ModelError::Parse { path, source },
            other => other,
        })
    }

    /// Reads the text of a `config.json`.
    ///
    /// # Errors
    /// [`ModelError`] when it is no LLaMA configuration, or states something unsupported.
    pub fn from_json(text: &str) -> Result<Self, ModelError> {
        let raw: RawConfig = serde_json::from_str(text)
            .map_err(|source| ModelError::Parse { path: "config.json".into(), source })?;
        let family = family_of(raw.model_type.as_deref())?;
        if let Some(act) = raw.hidden_act.as_deref().filter(|&act| act != "silu") {
            return Err(ModelError::config("hidden_act", act, "only silu is supported"));
        }
        let rope = raw.rope_scaling.as_ref().or(raw.rope_parameters.as_ref());
        let theta = raw.rope_theta.or_else(|| raw.rope_parameters.as_ref()?.rope_theta);
        let mut config = Self::new(
            raw.vocab_size,
            raw.hidden_size,
            raw.intermediate_size,
            raw.num_hidden_layers,
            raw.num_attention_heads,
        );
        config.family = family;
        config.decoder = (family.read)(text)?;
        config.num_key_value_heads = raw.num_key_value_heads.unwrap_or(raw.num_attention_heads);
        config.head_dim = raw.head_dim.or(family.head_dim).unwrap_or(config.head_dim);
        config.max_position_embeddings =
            raw.max_position_embeddings.or(raw.max_sequence_length).unwrap_or(family.max_position_embeddings);
        config.rms_norm_eps = raw.rms_norm_eps.unwrap_or(1e-6);
        config.rope_theta = theta.unwrap_or(10_000.0);
        config.rope_scaling = rope.map(RawRope::scaling).transpose()?.flatten();
        config.tie_word_embeddings = raw.tie_word_embeddings;
        config.initializer_range = raw.initializer_range.unwrap_or(0.02);
        config.bos_token_id = raw.bos_token_id;
        config.eos_token_id = raw.eos_token_id;
        config.pad_token_id = raw.pad_token_id;
        config.torch_dtype = raw.torch_dtype;
        config.validate()?;
        Ok(config)
    }

    /// Returns the text of the `config.json` that states this configuration.
    pub fn to_json(&self) -> String {
        let mut file = Map::new();
        file.insert("architectures".to_owned(), json!([self.family.architecture]));
        file.insert("model_type".to_owned(), self.family.model_type.into());
        file.insert("hidden_act".to_owned(), "silu".into());
        for (key, value) in write_keys(self) {
            if key == "tie_word_embeddings" {
                file.extend((self.family.write)(self.decoder));
            }
            file.insert(key, value);
        }
        // Plain numbers, strings and structs always serialise.
        serde_json::to_string_pretty(&file).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimal(extra: &str) -> String {
        format!(
            r#"{{"vocab_size": 48, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
                "num_attention_heads": 4 {extra}}}"#
        )
    }

    #[test]
    fn what_old_files_leave_out_is_llama_1() {
        let config = LlamaConfig::from_json(&minimal("")).unwrap();
        assert_eq!((config.num_key_value_heads, config.head_dim), (4, 8));
        assert_eq!((config.rms_norm_eps, config.rope_theta), (1e-6, 10_000.0));
    }

    #[test]
    fn a_written_configuration_reads_back_equal() {
        let text = minimal(
            r#", "rope_theta": 5e5, "eos_token_id": [5, 6], "num_key_value_heads": 2, "rope_scaling": {"rope_type":
            "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16}"#,
        );
        let config = LlamaConfig::from_json(&text).unwrap();
        let again = LlamaConfig::from_json(&config.to_json()).unwrap();
        assert_eq!(config, again);
        assert!(matches!(config.rope_scaling, Some(RopeScaling::Llama3 { factor: 8.0, .. })));
    }

    #[test]
    fn the_rotary_settings_of_transformers_5_are_found() {
        let text =
            minimal(r#", "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 2e4}"#);
        let config = LlamaConfig::from_json(&text).unwrap();
        assert_eq!(config.rope_scaling, Some(RopeScaling::Linear { factor: 4.0 }));
        assert!((config.rope_theta - 2e4).abs() < 1e-9);
    }

    #[test]
    fn a_rotary_scaling_may_be_named_by_its_older_key_or_by_both() {
        for kind in [r#""type": "linear""#, r#""type": "linear", "rope_type": "linear""#] {
            let text = minimal(&format!(r#", "rope_scaling": {{{kind}, "factor": 2.0}}"#));
            let scaling = LlamaConfig::from_json(&text).unwrap().rope_scaling;
            assert_eq!(scaling, Some(RopeScaling::Linear { factor: 2.0 }));
        }
    }

    #[test]
    fn what_this_model_cannot_be_is_refused_by_field() {
        for (extra, field) in [
            (r#", "model_type": "mistral""#, "model_type"),
            (r#", "hidden_act": "gelu""#, "hidden_act"),
            (r#", "num_key_value_heads": 3"#, "num_key_value_heads"),
            (r#", "head_dim": 7"#, "head_dim"),
            (r#", "rope_scaling": {"type": "yarn", "factor": 2.0}"#, "rope_scaling.rope_type"),
        ] {
            let error = LlamaConfig::from_json(&minimal(extra)).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
