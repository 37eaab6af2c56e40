//! `config.json`, `generation_config.json` and the tokenizer's files beside the weights.

use std::path::Path;

use qlora_nf4::quantization_config;
use serde_json::{Value, json};

use crate::CheckpointError;
use crate::generation_config::GENERATION_CONFIG;
use crate::merged_model::MergedModel;
use crate::text_file::write_text;

/// Writes everything of a Hugging Face directory but the weights.
pub(in crate::formats) fn write_configs(dir: &Path, model: &MergedModel<'_>) -> Result<(), CheckpointError> {
    write_text(&dir.join("config.json"), &format!("{:#}", config_json(model)?))?;
    model.copy_tokenizer(dir);
    let generation = dir.join(GENERATION_CONFIG);
    if !generation.exists() {
        let config = json!({
            "_from_model_config": true,
            "bos_token_id": model.config().bos_token_id,
            "eos_token_id": model.config().eos_token_id,
        });
        write_text(&generation, &format!("{config:#}"))?;
    }
    Ok(())
}

/// Makes the base's own configuration with the changes, so that fields unknown here survive; or a new one where the
/// base has none.
fn config_json(model: &MergedModel<'_>) -> Result<Value, CheckpointError> {
    let own = model.base().config_json()?;
    let new = || serde_json::from_str(&model.config().to_json()).unwrap_or_default();
    let mut config: Value = own.unwrap_or_else(new);
    let field = if config.get("dtype").is_some() { "dtype" } else { "torch_dtype" };
    config[field] = model.dtype().into();
    config["vocab_size"] = model.config().vocab_size.into();
    let tied = model.config().tie_word_embeddings;
    if config.get("tie_word_embeddings").and_then(Value::as_bool).unwrap_or(false) != tied {
        config["tie_word_embeddings"] = tied.into();
    }
    if let Some(fields) = config.as_object_mut() {
        fields.shift_remove("quantization_config");
    }
    if let Some(quantization) = model.settings().quantization {
        config["quantization_config"] = quantization_config(quantization, model.dtype());
    }
    Ok(config)
}
