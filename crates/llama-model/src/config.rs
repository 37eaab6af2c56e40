//! The shape of a LLaMA model, as Hugging Face's `config.json` states it.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::ModelError;

/// One token id or several, as `eos_token_id` may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenIds {
    /// A single id.
    One(i64),
    /// Llama 3's instruct models stop at any of several.
    Many(Vec<i64>),
}

impl TokenIds {
    /// The ids as a list.
    pub fn as_slice(&self) -> &[i64] {
        match self {
            Self::One(id) => std::slice::from_ref(id),
            Self::Many(ids) => ids,
        }
    }
}

/// How rotary frequencies are stretched for long contexts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rope_type", rename_all = "lowercase")]
pub enum RopeScaling {
    /// Positions divided by `factor` (kaiokendev; Chen et al., arXiv 2306.15595).
    Linear {
        /// How many times the trained context.
        factor: f64,
    },
    /// Llama 3.1's: low frequencies divided by `factor`, high ones kept, those between interpolated
    /// (`meta-llama/llama-models`, `models/llama3/model.py`).
    Llama3 {
        /// How many times the trained context.
        factor: f64,
        /// Wavelengths above `original / low_freq_factor` are stretched.
        low_freq_factor: f64,
        /// Wavelengths below `original / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// Context of pre-training, in tokens.
        original_max_position_embeddings: i64,
    },
}

/// Shape and constants of a model, fully decided.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LlamaConfig {
    /// Entries of the embedding and of the head, `V`.
    pub vocab_size: i64,
    /// Model width `C`.
    pub hidden_size: i64,
    /// Feed-forward width `F`.
    pub intermediate_size: i64,
    /// Decoder layers.
    pub num_hidden_layers: usize,
    /// Query heads `H`.
    pub num_attention_heads: i64,
    /// Key and value heads `K`; fewer than `H` is grouped-query attention.
    pub num_key_value_heads: i64,
    /// Width of one head, `D`.
    pub head_dim: i64,
    /// Context the model was trained for, in tokens.
    pub max_position_embeddings: i64,
    /// Added to the mean square in every norm.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Long-context stretching, if any.
    pub rope_scaling: Option<RopeScaling>,
    /// Biases on q, k, v and o.
    pub attention_bias: bool,
    /// Biases on gate, up and down.
    pub mlp_bias: bool,
    /// Whether the head is the embedding.
    pub tie_word_embeddings: bool,
    /// Standard deviation of fresh weights.
    pub initializer_range: f64,
    /// First token of a text.
    pub bos_token_id: Option<i64>,
    /// Tokens that end a text.
    pub eos_token_id: Option<TokenIds>,
    /// Padding token, often absent.
    pub pad_token_id: Option<i64>,
    /// Precision of the file the configuration belongs to.
    pub torch_dtype: Option<String>,
}

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
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
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
            value.ok_or_else(|| refuse(field, "missing", "this kind of rope_scaling needs it"))
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
            other => Err(refuse("rope_scaling.rope_type", other, "default, linear and llama3 are supported")),
        }
    }
}

fn refuse(field: &'static str, actual: impl Into<String>, expected: impl Into<String>) -> ModelError {
    ModelError::Config { field, actual: actual.into(), expected: expected.into() }
}

impl LlamaConfig {
    /// A configuration with LLaMA-1's constants and the given widths; the other fields are public.
    pub fn new(vocab_size: i64, hidden_size: i64, intermediate_size: i64, layers: usize, heads: i64) -> Self {
        Self {
            vocab_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: heads,
            head_dim: hidden_size / heads.max(1),
            max_position_embeddings: 2048,
            rms_norm_eps: 1e-6,
            rope_theta: 10_000.0,
            rope_scaling: None,
            attention_bias: false,
            mlp_bias: false,
            tie_word_embeddings: false,
            initializer_range: 0.02,
            bos_token_id: Some(1),
            eos_token_id: Some(TokenIds::One(2)),
            pad_token_id: None,
            torch_dtype: None,
        }
    }

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
        if let Some(kind) = raw.model_type.as_deref().filter(|&kind| kind != "llama") {
            return Err(refuse("model_type", kind, "only llama is supported"));
        }
        if let Some(act) = raw.hidden_act.as_deref().filter(|&act| act != "silu") {
            return Err(refuse("hidden_act", act, "only silu is supported"));
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
        config.num_key_value_heads = raw.num_key_value_heads.unwrap_or(raw.num_attention_heads);
        config.head_dim = raw.head_dim.unwrap_or(config.head_dim);
        config.max_position_embeddings =
            raw.max_position_embeddings.or(raw.max_sequence_length).unwrap_or(2048);
        config.rms_norm_eps = raw.rms_norm_eps.unwrap_or(1e-6);
        config.rope_theta = theta.unwrap_or(10_000.0);
        config.rope_scaling = rope.map(RawRope::scaling).transpose()?.flatten();
        config.attention_bias = raw.attention_bias;
        config.mlp_bias = raw.mlp_bias;
        config.tie_word_embeddings = raw.tie_word_embeddings;
        config.initializer_range = raw.initializer_range.unwrap_or(0.02);
        config.bos_token_id = raw.bos_token_id;
        config.eos_token_id = raw.eos_token_id;
        config.pad_token_id = raw.pad_token_id;
        config.torch_dtype = raw.torch_dtype;
        config.validate()?;
        Ok(config)
    }

    /// The text of the `config.json` that states this configuration.
    pub fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct File<'a> {
            architectures: [&'static str; 1],
            model_type: &'static str,
            hidden_act: &'static str,
            #[serde(flatten)]
            config: &'a LlamaConfig,
        }
        let file = File {
            architectures: ["LlamaForCausalLM"],
            model_type: "llama",
            hidden_act: "silu",
            config: self,
        };
        // Plain numbers, strings and structs always serialise.
        serde_json::to_string_pretty(&file).unwrap_or_default()
    }

    /// Checks that the widths fit each other.
    ///
    /// # Errors
    /// [`ModelError::Config`] naming the first field that does not.
    pub fn validate(&self) -> Result<(), ModelError> {
        let positive = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("num_hidden_layers", self.num_hidden_layers as i64),
        ];
        if let Some((field, value)) = positive.into_iter().find(|&(_, value)| value < 1) {
            return Err(refuse(field, value.to_string(), "it has to be at least 1"));
        }
        if self.head_dim % 2 != 0 {
            return Err(refuse(
                "head_dim",
                self.head_dim.to_string(),
                "rotary embedding needs an even width",
            ));
        }
        if self.num_attention_heads % self.num_key_value_heads != 0 {
            let expected = format!("it has to divide num_attention_heads {}", self.num_attention_heads);
            return Err(refuse("num_key_value_heads", self.num_key_value_heads.to_string(), expected));
        }
        Ok(())
    }

    /// The tokens that end a text, as the configuration states them.
    pub fn eos_ids(&self) -> &[i64] {
        self.eos_token_id.as_ref().map_or(&[], TokenIds::as_slice)
    }

    /// One decoder layer's linear layers, attention's four first, as `(leaf name, in, out)`.
    pub fn layer_linears(&self) -> [(&'static str, i64, i64); 7] {
        let (c, f) = (self.hidden_size, self.intermediate_size);
        let (q, kv) = (self.num_attention_heads * self.head_dim, self.num_key_value_heads * self.head_dim);
        [
            ("q_proj", c, q),
            ("k_proj", c, kv),
            ("v_proj", c, kv),
            ("o_proj", q, c),
            ("gate_proj", c, f),
            ("up_proj", c, f),
            ("down_proj", f, c),
        ]
    }

    /// Every tensor of a checkpoint of this shape, by name, in the order of the model.
    pub fn tensor_shapes(&self) -> Vec<(String, Vec<i64>)> {
        let c = self.hidden_size;
        let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![self.vocab_size, c])];
        for layer in 0..self.num_hidden_layers {
            let layer = format!("model.layers.{layer}");
            for (index, (leaf, inputs, outputs)) in self.layer_linears().into_iter().enumerate() {
                let (block, bias) =
                    if index < 4 { ("self_attn", self.attention_bias) } else { ("mlp", self.mlp_bias) };
                shapes.push((format!("{layer}.{block}.{leaf}.weight"), vec![outputs, inputs]));
                if bias {
                    shapes.push((format!("{layer}.{block}.{leaf}.bias"), vec![outputs]));
                }
            }
            for norm in ["input_layernorm", "post_attention_layernorm"] {
                shapes.push((format!("{layer}.{norm}.weight"), vec![c]));
            }
        }
        shapes.push(("model.norm.weight".to_owned(), vec![c]));
        if !self.tie_word_embeddings {
            shapes.push(("lm_head.weight".to_owned(), vec![self.vocab_size, c]));
        }
        shapes
    }

    /// Number of parameters, a tied head counted once.
    pub fn num_parameters(&self) -> i64 {
        self.tensor_shapes().iter().map(|(_, shape)| shape.iter().product::<i64>()).sum()
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

    #[test]
    fn seven_b_has_its_known_number_of_parameters() {
        assert_eq!(LlamaConfig::new(32_000, 4096, 11_008, 32, 32).num_parameters(), 6_738_415_616);
    }
}
