//! The files that belong to a tokenizer.

use std::path::Path;

use llama_tokenizer::LlamaTokenizer;
use serde_json::json;
use weights::atomic_write;

use crate::CheckpointError;

/// Files beside the weights that belong to the tokenizer.
pub(crate) const TOKENIZER_FILES: [&str; 6] = [
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "generation_config.json",
    "chat_template.jinja",
];

/// Copies the tokenizer's files from one directory to another.
///
/// # Errors
/// When the disk refuses.
pub fn copy_tokenizer_files(from: &Path, to: &Path) -> Result<(), CheckpointError> {
    for name in TOKENIZER_FILES {
        let file = from.join(name);
        if file.exists() {
            let target = to.join(name);
            std::fs::copy(&file, &target).map_err(|source| CheckpointError::Copy {
                from: file,
                to: target,
                source,
            })?;
        }
    }
    Ok(())
}

/// Writes a tokenizer that lies in no file of its own, as transformers reads it.
///
/// # Errors
/// When the disk refuses.
pub(crate) fn write_tokenizer_files(
    tokenizer: &LlamaTokenizer,
    chat_template: Option<&str>,
    target: &Path,
) -> Result<(), CheckpointError> {
    let token = |id: i64| tokenizer.token(id);
    let mut config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": tokenizer.adds_bos(),
        "bos_token": token(tokenizer.bos_id()),
        "eos_token": token(tokenizer.eos_id()),
        "unk_token": tokenizer.unk_id().and_then(token),
        "pad_token": token(tokenizer.pad_id()),
        "clean_up_tokenization_spaces": false,
        "model_input_names": ["input_ids", "attention_mask"],
    });
    if let Some(template) = chat_template {
        config["chat_template"] = template.into();
    }
    for (name, text) in
        [("tokenizer.json", tokenizer.to_json()?), ("tokenizer_config.json", format!("{config:#}"))]
    {
        atomic_write(&target.join(name), |file| file.write_all(text.as_bytes()))?;
    }
    Ok(())
}
