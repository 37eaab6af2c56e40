//! The files that belong to a tokenizer.

use std::path::{Path, PathBuf};

use llama_tokenizer::LlamaTokenizer;
use serde_json::json;
use weights::atomic_write;

use crate::CheckpointError;
use crate::generation_config::GENERATION_CONFIG;
use crate::text_file::refuse_lfs_pointer;

/// Files beside the weights that belong to the tokenizer.
pub(crate) const TOKENIZER_FILES: [&str; 9] = [
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    GENERATION_CONFIG,
    "chat_template.jinja",
];
/// Folder of further chat templates, by name.
const CHAT_TEMPLATES: &str = "additional_chat_templates";

/// Lists the files in `dir` that a tokenizer and its chat templates are read from.
pub(crate) fn tokenizer_files(dir: &Path) -> Vec<PathBuf> {
    let has_json = dir.join("tokenizer.json").exists();
    let is_read = |name: &&str| match *name {
        "tokenizer.model" => !has_json,
        name => name != GENERATION_CONFIG,
    };
    let names = TOKENIZER_FILES.iter().filter(|name| is_read(name)).map(|name| dir.join(name));
    let mut files: Vec<_> = names.chain(chat_templates(dir)).filter(|path| path.is_file()).collect();
    files.sort_unstable();
    files
}

/// Lists what lies in the folder of further chat templates.
fn chat_templates(dir: &Path) -> Vec<PathBuf> {
    let templates = dir.join(CHAT_TEMPLATES).read_dir();
    templates.map_or_else(|_| Vec::new(), |entries| entries.flatten().map(|entry| entry.path()).collect())
}

/// Copies the tokenizer's files from one directory to another; `from` may be one of them.
///
/// # Errors
/// When the disk refuses.
pub fn copy_tokenizer_files(from: &Path, to: &Path) -> Result<(), CheckpointError> {
    let from = if from.is_file() { from.parent().unwrap_or(from) } else { from };
    for name in TOKENIZER_FILES {
        copy_file(&from.join(name), &to.join(name))?;
    }
    let Ok(templates) = from.join(CHAT_TEMPLATES).read_dir() else { return Ok(()) };
    let to = to.join(CHAT_TEMPLATES);
    std::fs::create_dir_all(&to).map_err(|source| CheckpointError::Copy {
        from: from.join(CHAT_TEMPLATES),
        to: to.clone(),
        source,
    })?;
    for template in templates.flatten().filter(|entry| entry.path().is_file()) {
        copy_file(&template.path(), &to.join(template.file_name()))?;
    }
    Ok(())
}

/// Copies a file that is there, and is more than a pointer of Git LFS to it.
pub(crate) fn copy_file(from: &Path, to: &Path) -> Result<(), CheckpointError> {
    let failed = |source| CheckpointError::Copy { from: from.to_owned(), to: to.to_owned(), source };
    if !from.is_file() {
        return Ok(());
    }
    if let Err(left_out) = refuse_lfs_pointer(from) {
        tracing::warn!("not copied: {left_out}");
        return Ok(());
    }
    std::fs::copy(from, to).map(|_| ()).map_err(failed)
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
        "add_eos_token": tokenizer.adds_eos(),
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
