//! `adapter_config.json`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::LoraError;
use crate::variant_name::{VariantName, peft_field};

/// Name of the file of hyper-parameters in an adapter directory.
pub(crate) const ADAPTER_CONFIG: &str = "adapter_config.json";

/// The layers that are adapted, in PEFT's three spellings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetModules {
    /// Layers whose path is, or ends in, one of these names.
    Names(Vec<String>),
    /// `all-linear`, or a regular expression that the whole path must match.
    Pattern(String),
}

/// Hyper-parameters of an adapter under PEFT's names (`peft/tuners/lora/config.py`). Fields of other versions of PEFT
/// are ignored, unless they change what the adapter computes: then reading refuses them by name.
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
    /// Indices of the decoder layers that are adapted; all when absent.
    pub layers_to_transform: Option<Vec<usize>>,
    /// Biases that train: only `none`.
    pub bias: String,
    /// Weights stored transposed (GPT-2): never in LLaMA.
    pub fan_in_fan_out: bool,
    /// Rank-stabilised scale (Kalajdzievski, 2023, arXiv 2312.03732).
    pub use_rslora: bool,
    /// Other ranks for paths that match a pattern.
    pub rank_pattern: BTreeMap<String, i64>,
    /// Other alphas for paths that match a pattern.
    pub alpha_pattern: BTreeMap<String, f64>,
    /// Initialisation of the factors; of no consequence once they are saved.
    pub init_lora_weights: serde_json::Value,
    /// Whole modules trained beside the adapter: not supported.
    pub modules_to_save: Option<Vec<String>>,
    /// Biases on `lora_B`: not supported.
    #[serde(skip_serializing)]
    pub lora_bias: bool,
    /// Variant of LoRA; a field of its own in PEFT's file.
    #[serde(flatten, with = "peft_field")]
    pub variant: VariantName,
}

impl Default for LoraConfig {
    /// PEFT's own defaults.
    fn default() -> Self {
        Self {
            peft_type: "LORA".to_owned(),
            task_type: Some("CAUSAL_LM".to_owned()),
            base_model_name_or_path: None,
            inference_mode: true,
            r: 8,
            lora_alpha: 8.0,
            lora_dropout: 0.0,
            target_modules: None,
            exclude_modules: None,
            layers_to_transform: None,
            bias: "none".to_owned(),
            fan_in_fan_out: false,
            use_rslora: false,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
            init_lora_weights: serde_json::Value::Bool(true),
            modules_to_save: None,
            lora_bias: false,
            variant: VariantName::default(),
        }
    }
}

impl LoraConfig {
    /// Reads `adapter_config.json` in `dir`.
    ///
    /// # Errors
    /// [`LoraError`] when the file is missing or malformed, or asks for something that is not supported.
    pub fn from_dir(dir: &Path) -> Result<Self, LoraError> {
        let path = dir.join(ADAPTER_CONFIG);
        let text =
            std::fs::read_to_string(&path).map_err(|source| LoraError::Io { path: path.clone(), source })?;
        let config: Self = serde_json::from_str(&text).map_err(|source| LoraError::Parse { path, source })?;
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
            return refuse("peft_type", &self.peft_type, "only LORA adapters are supported");
        }
        if self.r < 1 || self.rank_pattern.values().any(|&r| r < 1) {
            return refuse("r", &self.r, "a rank has to be at least 1");
        }
        if !(0.0..1.0).contains(&self.lora_dropout) {
            return refuse("lora_dropout", &self.lora_dropout, "it has to be at least 0 and less than 1");
        }
        if !self.lora_alpha.is_finite() {
            return refuse("lora_alpha", &self.lora_alpha, "it has to be a number");
        }
        if self.bias != "none" {
            return refuse("bias", &self.bias, "only `none` is supported");
        }
        let unsupported = [
            ("fan_in_fan_out", self.fan_in_fan_out),
            ("lora_bias", self.lora_bias),
            ("modules_to_save", self.modules_to_save.as_ref().is_some_and(|names| !names.is_empty())),
        ];
        match unsupported.into_iter().find(|&(_, set)| set) {
            Some((name, _)) => Err(LoraError::Variant { name: name.to_owned() }),
            None => self.variant.get().map(|_| ()),
        }
    }

    /// Factor of a delta of rank `r`.
    pub(crate) fn scale(&self, alpha: f64, r: i64) -> f64 {
        let r = r as f64;
        alpha / if self.use_rslora { r.sqrt() } else { r }
    }
}

/// PEFT writes alpha as an integer where it is one.
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

    #[test]
    fn configs_of_other_peft_versions_are_read() {
        let text = r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 32, "target_modules": ["q_proj", "v_proj"],
            "enable_lora": null, "merge_weights": false, "some_future_field": {"a": 1}, "bias": "none"}"#;
        let config: LoraConfig = serde_json::from_str(text).unwrap();
        config.validate().unwrap();
        assert_eq!((config.r, config.lora_alpha), (4, 32.0));
    }

    #[test]
    fn unsupported_features_are_rejected_by_name() {
        for (text, field) in [
            (r#"{"use_qalora": true}"#, "use_qalora"),
            (r#"{"bias": "all"}"#, "bias"),
            (r#"{"modules_to_save": ["lm_head"]}"#, "modules_to_save"),
            (r#"{"peft_type": "IA3"}"#, "peft_type"),
            (r#"{"r": 0}"#, "`r`"),
            (r#"{"lora_dropout": 1.0}"#, "lora_dropout"),
        ] {
            let config: LoraConfig = serde_json::from_str(text).unwrap();
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn rank_stabilised_scale_divides_by_the_root() {
        let plain = LoraConfig::default();
        let stabilised = LoraConfig { use_rslora: true, ..LoraConfig::default() };
        assert_eq!((plain.scale(6.0, 9), stabilised.scale(6.0, 9)), (6.0 / 9.0, 2.0));
    }
}
