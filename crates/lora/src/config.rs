//! `adapter_config.json`.

use std::path::Path;
use std::str::FromStr;

use nn_core::{Settings, UnknownSettings};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use weights::read_text;

use crate::error::LoraError;
use crate::initial::Initial;
use crate::keys::KEYS;
use crate::pattern::Patterns;
use crate::variant_name::{VariantName, peft_field};

/// Name of the file of hyper-parameters in an adapter directory.
pub(crate) const ADAPTER_CONFIG: &str = "adapter_config.json";

/// Bytes of that file; real ones have a few thousand.
const MAX_BYTES: u64 = 16 << 20;

/// PEFT's word for every linear layer except the head.
pub(crate) const ALL_LINEAR: &str = "all-linear";

/// The layers that are adapted, in PEFT's three spellings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetModules {
    /// Layers whose path is, or ends in, one of these names.
    Names(Vec<String>),
    /// `all-linear`, or a regular expression that the whole path must match.
    Pattern(String),
}

/// Rows of embeddings that train beside an adapter, in PEFT's two spellings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TokenIndices {
    /// Rows of the input embedding.
    OfEmbedding(Vec<i64>),
    /// Rows by the name of their module.
    ByModule(Patterns<Vec<i64>>),
}

impl FromStr for TargetModules {
    type Err = LoraError;

    /// Parses `q_proj,v_proj`, alpaca-lora's `[q_proj,v_proj]` with or without quotes inside, `all-linear`, or a regular
    /// expression.
    fn from_str(text: &str) -> Result<Self, LoraError> {
        let text = text.trim();
        let listed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let is_pattern = listed.is_none() && text.contains(|c: char| r".*+?()|[]^$\".contains(c));
        if text == ALL_LINEAR || is_pattern {
            return Ok(Self::Pattern(text.to_owned()));
        }
        let names = listed.unwrap_or(text).split(',').map(|name| name.trim().trim_matches(['\'', '"']));
        let names: Vec<String> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
        if names.is_empty() { Err(LoraError::NoTargets) } else { Ok(Self::Names(names)) }
    }
}

/// Hyper-parameters of an adapter under PEFT's names (`peft/tuners/lora/config.py`). Every key of the file is honoured, or
/// of no consequence, or refused by name; `null` is the same as no key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[expect(clippy::struct_excessive_bools, reason = "the fields of PEFT's file")]
pub struct LoraConfig {
    /// Always `LORA`.
    pub peft_type: String,
    /// Always `CAUSAL_LM` when written.
    pub task_type: Option<String>,
    /// The base model as the user named it.
    pub base_model_name_or_path: Option<String>,
    /// Version of the base on the hub.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// PEFT's marker for a saved adapter.
    pub inference_mode: bool,
    /// Rank, at least 1.
    pub r: i64,
    /// Numerator of the scale: `alpha / r`, or `alpha / sqrt(r)` with `use_rslora`.
    #[serde(serialize_with = "as_whole_number")]
    pub lora_alpha: f64,
    /// Probability of dropping an input feature of the adapter branch while training, in `[0, 1)`.
    pub lora_dropout: f64,
    /// Layers that are adapted; `q_proj` and `v_proj` when absent.
    pub target_modules: Option<TargetModules>,
    /// Layers left out again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exclude_modules: Option<TargetModules>,
    /// Indices of the decoder layers that are adapted; all when absent or empty.
    #[serde(deserialize_with = "one_or_many")]
    pub layers_to_transform: Option<Vec<usize>>,
    /// Names of the list of layers that those are indices of; any when absent or empty.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "one_or_many")]
    pub layers_pattern: Option<Vec<String>>,
    /// Biases of the base that were trained: `none`, `all` or `lora_only`. A saved adapter holds their values.
    pub bias: String,
    /// Weights stored transposed (GPT-2): never in LLaMA, whatever a file says.
    #[serde(skip_deserializing)]
    pub fan_in_fan_out: bool,
    /// Rank-stabilised scale (Kalajdzievski, 2023, arXiv 2312.03732).
    pub use_rslora: bool,
    /// Other ranks for paths that match a pattern; the first that matches counts.
    pub rank_pattern: Patterns<i64>,
    /// Other alphas for paths that match a pattern; the first that matches counts.
    pub alpha_pattern: Patterns<f64>,
    /// Initialisation of the factors. Of consequence for a saved adapter where it changed the base: see [`Initial`].
    pub init_lora_weights: Value,
    /// Modules of which the adapter holds a trained copy: whole weights instead of factors. A module is meant by the end of
    /// its path.
    pub modules_to_save: Option<Vec<String>>,
    /// Rows of embeddings that were trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trainable_token_indices: Option<TokenIndices>,
    /// Biases on `lora_B`.
    #[serde(skip_serializing_if = "is_false")]
    pub lora_bias: bool,
    /// Applies the change of an embedding to the head that is tied to it too.
    #[serde(skip_serializing_if = "is_false")]
    pub ensure_weight_tying: bool,
    /// Variant of LoRA; a field of its own in PEFT's file.
    #[serde(flatten, with = "peft_field")]
    pub variant: VariantName,
}

impl Default for LoraConfig {
    /// Returns PEFT's own defaults.
    fn default() -> Self {
        Self {
            peft_type: "LORA".to_owned(),
            task_type: Some("CAUSAL_LM".to_owned()),
            base_model_name_or_path: None,
            revision: None,
            inference_mode: true,
            r: 8,
            lora_alpha: 8.0,
            lora_dropout: 0.0,
            target_modules: None,
            exclude_modules: None,
            layers_to_transform: None,
            layers_pattern: None,
            bias: "none".to_owned(),
            fan_in_fan_out: false,
            use_rslora: false,
            rank_pattern: Patterns::default(),
            alpha_pattern: Patterns::default(),
            init_lora_weights: Value::Bool(true),
            modules_to_save: None,
            trainable_token_indices: None,
            lora_bias: false,
            ensure_weight_tying: false,
            variant: VariantName::default(),
        }
    }
}

impl LoraConfig {
    /// Reads `adapter_config.json` in `dir`.
    ///
    /// # Errors
    /// [`LoraError`] when the file is missing or malformed, asks for something that is not supported, or has a key that is
    /// unknown here and could change the result.
    pub fn from_dir(dir: &Path) -> Result<Self, LoraError> {
        Self::from_dir_with(dir, UnknownSettings::Refuse)
    }

    /// Reads `adapter_config.json` in `dir` as [`LoraConfig::from_dir`] does, and takes a stance on unknown keys.
    ///
    /// # Errors
    /// Those of [`LoraConfig::from_dir`].
    pub fn from_dir_with(dir: &Path, unknown: UnknownSettings) -> Result<Self, LoraError> {
        let path = dir.join(ADAPTER_CONFIG);
        let text =
            read_text(&path, MAX_BYTES).map_err(|source| LoraError::Io { path: path.clone(), source })?;
        Self::parse(&path, &text, unknown)
    }

    /// Reads the text of the file at `path`.
    pub(crate) fn parse(path: &Path, text: &str, unknown: UnknownSettings) -> Result<Self, LoraError> {
        let malformed = |source| LoraError::Parse { path: path.to_owned(), source };
        let mut fields: Map<String, Value> = serde_json::from_str(text).map_err(malformed)?;
        let kind = fields.get("peft_type").and_then(Value::as_str);
        if let Some(kind) = kind.filter(|kind| *kind != "LORA") {
            return Err(only_lora(kind));
        }
        for note in (Settings { file: path, within: "", fields: &fields }).check(KEYS, unknown)? {
            tracing::info!("`{}`: {note}", path.display());
        }
        // As Python has it, where a missing value and `None` are one; and so are switches that are null.
        fields.retain(|_, value| !value.is_null());
        let config: Self = serde_json::from_value(Value::Object(fields)).map_err(malformed)?;
        config.validate()?;
        Ok(config)
    }

    /// Checks every value, and that nothing is asked for that this crate cannot do.
    ///
    /// # Errors
    /// [`LoraError::Config`] naming the first field that is wrong.
    pub fn validate(&self) -> Result<(), LoraError> {
        let refuse = |field, actual: &dyn ToString, expected| {
            Err(LoraError::Config { field, actual: actual.to_string(), expected })
        };
        if self.peft_type != "LORA" {
            return Err(only_lora(&self.peft_type));
        }
        if self.r < 1 || self.rank_pattern.iter().any(|&(_, r)| r < 1) {
            return refuse("r", &self.r, "a rank has to be at least 1");
        }
        if !(0.0..1.0).contains(&self.lora_dropout) {
            return refuse("lora_dropout", &self.lora_dropout, "it has to be at least 0 and less than 1");
        }
        if !self.lora_alpha.is_finite() {
            return refuse("lora_alpha", &self.lora_alpha, "it has to be a number");
        }
        if !["none", "all", "lora_only"].contains(&self.bias.as_str()) {
            return refuse("bias", &self.bias, "expected `none`, `all` or `lora_only`");
        }
        let variant = self.variant.get()?;
        if self.lora_bias && variant.config_field().is_some() {
            return refuse("lora_bias", &true, "only plain LoRA has biases on lora_B");
        }
        Initial::of(&self.init_lora_weights).map(|_| ())
    }

    /// Returns the configuration of the layers that [`AdapterParts::on_base`](crate::AdapterParts::on_base) makes: twice the
    /// rank, at the same scale (`peft/tuners/lora/model.py`, `subtract_mutated_init`).
    pub(crate) fn on_base(&self) -> Result<Self, LoraError> {
        if Initial::of(&self.init_lora_weights)? == Initial::Nothing {
            return Ok(self.clone());
        }
        let more = if self.use_rslora { 2f64.sqrt() } else { 2.0 };
        Ok(Self {
            r: self.r * 2,
            rank_pattern: self.rank_pattern.map(|r| r * 2),
            lora_alpha: self.lora_alpha * more,
            alpha_pattern: self.alpha_pattern.map(|alpha| alpha * more),
            init_lora_weights: Value::Bool(true),
            ..self.clone()
        })
    }

    /// Returns the factor of a delta of rank `r`.
    pub fn scale(&self, alpha: f64, r: i64) -> f64 {
        let r = r as f64;
        alpha / if self.use_rslora { r.sqrt() } else { r }
    }
}

fn only_lora(peft_type: &str) -> LoraError {
    LoraError::Config {
        field: "peft_type",
        actual: peft_type.to_owned(),
        expected: "only LORA adapters are supported",
    }
}

/// Takes a value for a list of one.
fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Vec<T>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany<T> {
        One(T),
        Many(Vec<T>),
    }
    Ok(Some(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(value) => vec![value],
        OneOrMany::Many(values) => values,
    }))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn is_false(on: &bool) -> bool {
    !on
}

/// Writes alpha as PEFT does: an integer where it is one.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde calls")]
fn as_whole_number<S: serde::Serializer>(alpha: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if alpha.fract() == 0.0 && alpha.abs() < 1e15 {
        serializer.serialize_i64(*alpha as i64)
    } else {
        serializer.serialize_f64(*alpha)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<LoraConfig, LoraError> {
        LoraConfig::parse(Path::new("adapter_config.json"), text, UnknownSettings::Refuse)
    }

    #[test]
    fn target_modules_are_read_in_every_spelling() {
        let names = TargetModules::Names(vec!["q_proj".to_owned(), "v_proj".to_owned()]);
        for text in ["q_proj,v_proj", "[q_proj,v_proj]", "['q_proj', \"v_proj\"]", " [ q_proj , v_proj ] "] {
            assert_eq!(text.parse::<TargetModules>().unwrap(), names, "{text}");
        }
        for text in ["all-linear", r".*\.(q|v)_proj"] {
            assert_eq!(text.parse::<TargetModules>().unwrap(), TargetModules::Pattern(text.to_owned()));
        }
        assert!("[]".parse::<TargetModules>().is_err());
    }

    #[test]
    fn configs_of_other_peft_versions_are_read() {
        let text = r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 32, "target_modules": ["q_proj", "v_proj"],
            "enable_lora": null, "merge_weights": false, "some_future_field": {}, "bias": "none"}"#;
        let config = read(text).unwrap();
        assert_eq!((config.r, config.lora_alpha), (4, 32.0));
    }

    #[test]
    fn unsupported_features_are_rejected_by_name() {
        for (text, field) in [
            (r#"{"use_qalora": true}"#, "use_qalora"),
            (r#"{"bias": "some"}"#, "bias"),
            (r#"{"some_future_field": {"a": 1}}"#, "some_future_field"),
            (r#"{"init_lora_weights": "corda"}"#, "init_lora_weights"),
            (r#"{"use_dora": true, "lora_bias": true}"#, "lora_bias"),
            (r#"{"peft_type": "IA3", "feedforward_modules": ["a"]}"#, "peft_type"),
            (r#"{"r": 0}"#, "`r`"),
            (r#"{"lora_dropout": 1.0}"#, "lora_dropout"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn null_is_no_value_and_one_index_is_a_list() {
        let text = r#"{"fan_in_fan_out": null, "use_rslora": null, "use_dora": null, "rank_pattern": null,
            "layers_to_transform": 1, "layers_pattern": "layers"}"#;
        let expected = LoraConfig {
            layers_to_transform: Some(vec![1]),
            layers_pattern: Some(vec!["layers".to_owned()]),
            ..LoraConfig::default()
        };
        assert_eq!(read(text).unwrap(), expected);
    }

    #[test]
    fn rank_stabilised_scale_divides_by_the_root() {
        let plain = LoraConfig::default();
        let stabilised = LoraConfig { use_rslora: true, ..LoraConfig::default() };
        assert_eq!((plain.scale(6.0, 9), stabilised.scale(6.0, 9)), (6.0 / 9.0, 2.0));
    }
}
