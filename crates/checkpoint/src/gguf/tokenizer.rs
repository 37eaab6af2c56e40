//! The tokenizer in a GGUF file's metadata.

use llama_tokenizer::{LlamaTokenizer, Pieces, TokenizerParts};
use weights::{GgufFile, GgufValue};

use crate::CheckpointError;

/// Reads it.
///
/// # Errors
/// When the file has none, or one that is not known.
pub(crate) fn read_tokenizer(file: &GgufFile) -> Result<LlamaTokenizer, CheckpointError> {
    Ok(LlamaTokenizer::from_parts(&parts(file)?)?)
}

fn parts(file: &GgufFile) -> Result<TokenizerParts, CheckpointError> {
    let path = || file.path().to_owned();
    let get = |key: &str| file.metadata().get(&format!("tokenizer.ggml.{key}"));
    let need = |key: &'static str| get(key).ok_or_else(|| CheckpointError::NoTokenizer { path: path(), key });
    let wrong = |key: &'static str| CheckpointError::TokenizerValue { path: path(), key };
    let texts = |key| need(key)?.as_texts().map(<[String]>::to_vec).ok_or_else(|| wrong(key));
    let flag = |key: &str| get(key).and_then(GgufValue::as_bool);
    let id = |key: &str| {
        let id = get(&format!("{key}_token_id")).and_then(GgufValue::as_i64);
        // Some files write -1 for none.
        id.and_then(|id| u32::try_from(id).ok())
    };
    let pieces = match need("model")?.as_text().unwrap_or("not a text") {
        "llama" => Pieces::Scores {
            scores: need("scores")?
                .as_floats()
                .map(|scores| scores.iter().map(|&score| score as f32).collect())
                .ok_or_else(|| wrong("scores"))?,
            add_space_prefix: flag("add_space_prefix").unwrap_or(true),
        },
        "gpt2" => Pieces::Merges {
            merges: texts("merges")?,
            pre: get("pre").and_then(GgufValue::as_text).unwrap_or("default").to_owned(),
        },
        other => {
            return Err(CheckpointError::TokenizerModel { path: path(), model: other.to_owned() });
        }
    };
    Ok(TokenizerParts {
        path: file.path().to_owned(),
        tokens: texts("tokens")?,
        token_types: get("token_type").and_then(GgufValue::as_integers).unwrap_or_default().to_vec(),
        pieces,
        bos_id: id("bos"),
        eos_id: id("eos"),
        unk_id: id("unknown"),
        pad_id: id("padding"),
        add_bos: flag("add_bos_token"),
    })
}
