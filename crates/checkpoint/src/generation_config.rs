//! The end tokens of `generation_config.json`.

use std::path::Path;

use llama_tokenizer::LlamaTokenizer;
use serde_json::Value;

use crate::CheckpointError;
use crate::model_files::ModelFiles;
use crate::text_file::read_json;

/// Name of the file.
pub(crate) const GENERATION_CONFIG: &str = "generation_config.json";

/// Reads the ids that end an answer, one or several, from the `generation_config.json` in `dir`; none where there is no
/// such file.
///
/// # Errors
/// When the file cannot be read, or they are no token ids.
pub(crate) fn generation_eos_ids(dir: &Path) -> Result<Vec<i64>, CheckpointError> {
    const FIELD: &str = "eos_token_id";
    let path = dir.join(GENERATION_CONFIG);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let config = read_json(&path)?;
    let ids = match &config[FIELD] {
        Value::Null => Some(Vec::new()),
        Value::Array(ids) => ids.iter().map(Value::as_i64).collect(),
        one => one.as_i64().map(|id| vec![id]),
    };
    ids.ok_or_else(|| CheckpointError::Metadata {
        path,
        field: FIELD.to_owned(),
        actual: config[FIELD].to_string(),
        expected: "it has to be a token id or a list of them".to_owned(),
    })
}

/// Returns the ids that end an answer: the tokenizer's, those of the configuration and of `generation_config.json`.
pub(crate) fn eos_ids(files: &dyn ModelFiles, tokenizer: &LlamaTokenizer) -> Vec<i64> {
    let mut ids = vec![tokenizer.eos_id()];
    // The `eos_token_id: 1` of early conversions is `<s>`, with which every text begins.
    let begins = |id: i64| tokenizer.adds_bos() && id == tokenizer.bos_id();
    let stated = files.config().eos_ids().iter().chain(files.generation_eos_ids());
    ids.extend(stated.copied().filter(|&id| id >= 0 && !begins(id)));
    ids.sort_unstable();
    ids.dedup();
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_tokens_are_one_or_several_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let read = |text: &str| {
            std::fs::write(dir.path().join(GENERATION_CONFIG), text).unwrap();
            generation_eos_ids(dir.path())
        };
        assert_eq!(read(r#"{"eos_token_id": 2}"#).unwrap(), [2]);
        assert_eq!(read(r#"{"eos_token_id": [2, 426]}"#).unwrap(), [2, 426]);
        assert!(read("{}").unwrap().is_empty() && read(r#"{"eos_token_id": null}"#).unwrap().is_empty());
        for damaged in
            [r#"{"eos_token_id": "</s>"}"#, r#"{"eos_token_id": 2,}"#, "version https://git-lfs.github"]
        {
            let error = read(damaged).unwrap_err().to_string();
            assert!(error.contains(GENERATION_CONFIG), "{error}");
        }
    }
}
