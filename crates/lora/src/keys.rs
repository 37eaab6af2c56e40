//! Every key of `adapter_config.json`, and what becomes of it.

use nn_core::{SettingRole, SettingTable};

use SettingRole::{Harmless, Used};

const fn refused(reason: &'static str) -> SettingRole {
    SettingRole::refused(reason)
}

/// A variant of LoRA whose formula is not implemented.
const VARIANT: SettingRole = refused("this variant of LoRA is not supported; merge the adapter with peft");

/// The keys of PEFT 0.21 (`peft/config.py`, `peft/tuners/lora/config.py`), in its order, and of older versions behind them.
pub(crate) const KEYS: &SettingTable = &[
    ("task_type", Used),
    ("peft_type", Used),
    ("auto_mapping", Harmless),
    ("peft_version", Harmless),
    ("base_model_name_or_path", Used),
    ("revision", Used),
    ("inference_mode", Harmless),
    ("r", Used),
    ("target_modules", Used),
    ("exclude_modules", Used),
    ("lora_alpha", Used),
    ("lora_dropout", Used),
    // Linear layers of LLaMA are `torch.nn.Linear`: PEFT warns and takes it for false.
    ("fan_in_fan_out", Harmless),
    ("bias", Used),
    ("use_rslora", Used),
    ("modules_to_save", Used),
    ("init_lora_weights", Used),
    ("layers_to_transform", Used),
    ("layers_pattern", Used),
    ("rank_pattern", Used),
    ("alpha_pattern", Used),
    ("megatron_config", refused("Megatron's parallel layers are not supported")),
    ("megatron_core", Harmless),
    ("trainable_token_indices", Used),
    // Each is read by PEFT for its own `init_lora_weights` alone.
    ("loftq_config", Harmless),
    ("eva_config", Harmless),
    ("corda_config", Harmless),
    ("lora_ga_config", Harmless),
    ("use_dora", Used),
    // Another backward pass; the forward pass is LoRA's.
    ("velora_config", Harmless),
    (
        "alora_invocation_tokens",
        refused(
            "an adapter that acts only behind an invocation (aLoRA) is not supported, and cannot be merged",
        ),
    ),
    ("use_qalora", VARIANT),
    ("qalora_group_size", Harmless),
    ("monteclora_config", VARIANT),
    (
        "layer_replication",
        refused(
            "the adapter is for a model with repeated layers; write that model with transformers and peft, merged",
        ),
    ),
    // PEFT ignores it in a file.
    ("runtime_config", Harmless),
    ("lora_bias", Used),
    (
        "target_parameters",
        refused("adapters of parameters are for mixtures of experts, which are not supported"),
    ),
    ("use_bdlora", VARIANT),
    ("arrow_config", VARIANT),
    ("kasa_config", VARIANT),
    ("ensure_weight_tying", Used),
    // Of PEFT before 0.3.
    ("merge_weights", Harmless),
    ("enable_lora", refused("adapters of parts of a layer are not supported")),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use nn_core::{Settings, UnknownSettings};
    use serde_json::{Value, json};

    use super::*;
    use crate::LoraConfig;

    /// A configuration as PEFT 0.21.2 writes it, every key at its default.
    const PEFT: &str = include_str!("../tests/peft_0_21_adapter_config.json");

    fn fields(text: &str) -> serde_json::Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn every_key_of_peft_stands_in_the_table_once_and_its_default_is_read() {
        let known: BTreeSet<&str> = KEYS.iter().map(|(key, _)| *key).collect();
        assert_eq!(known.len(), KEYS.len());
        let written = fields(PEFT);
        for key in written.keys() {
            assert!(known.contains(key.as_str()), "{key}");
        }
        let settings = Settings { file: Path::new("a"), within: "", fields: &written };
        assert_eq!(settings.check(KEYS, UnknownSettings::Refuse).unwrap(), [""; 0]);
        LoraConfig::parse(Path::new("a"), PEFT, UnknownSettings::Refuse).unwrap();
    }

    /// Walks over the table: a used key is a field that a value changes, a harmless one changes nothing, a refused one is
    /// named.
    #[test]
    fn every_key_is_honoured_or_without_effect_or_refused_by_name() {
        let read = |fields: &serde_json::Map<String, Value>| {
            let text = serde_json::to_string(fields).unwrap();
            LoraConfig::parse(Path::new("a"), &text, UnknownSettings::Refuse)
        };
        let plain = read(&fields(PEFT)).unwrap();
        for (key, role) in KEYS {
            let mut changed = fields(PEFT);
            changed.insert((*key).to_owned(), another(key));
            let outcome = read(&changed);
            match role {
                Used => match outcome {
                    Ok(config) => assert_ne!(config, plain, "{key} is passed over"),
                    Err(error) => assert!(error.to_string().contains(key), "{key}: {error}"),
                },
                Harmless => assert_eq!(outcome.unwrap(), plain, "{key}"),
                SettingRole::Noted(_) => unreachable!("none is"),
                SettingRole::Only(..) => {
                    let error = outcome.unwrap_err().to_string();
                    assert!(error.contains(&format!("`{key}`")), "{error}");
                }
            }
            // Nothing is said by null, whatever the key.
            changed.insert((*key).to_owned(), Value::Null);
            assert!(read(&changed).is_ok(), "{key} is null");
        }
    }

    /// Returns a value other than the default that PEFT may write.
    fn another(key: &str) -> Value {
        match key {
            "task_type" => json!("SEQ_CLS"),
            "peft_type" => json!("LORA2"),
            "base_model_name_or_path" | "revision" | "megatron_core" | "peft_version" => json!("another"),
            "r" | "lora_alpha" | "qalora_group_size" => json!(5),
            "lora_dropout" => json!(0.25),
            "target_modules" | "exclude_modules" | "modules_to_save" | "layers_pattern" => json!(["k_proj"]),
            "target_parameters" => json!(["experts"]),
            "bias" => json!("all"),
            "init_lora_weights" => json!("pissa"),
            "layers_to_transform" => json!(1),
            "rank_pattern" | "alpha_pattern" => json!({"q_proj": 3}),
            "trainable_token_indices" => json!([3]),
            "layer_replication" => json!([[0, 1], [0, 1]]),
            "alora_invocation_tokens" => json!([1, 2]),
            key if key.ends_with("_config") || key == "use_bdlora" || key == "auto_mapping" => {
                json!({"a": 1})
            }
            "enable_lora" => json!([true, false, true]),
            _ => json!(true),
        }
    }
}
