//! The tokenizer in a GGUF file's metadata.

use anyhow::{Context, Result, bail};
use llama_tokenizer::{LlamaTokenizer, Pieces, TokenizerParts};
use weights::{GgufFile, GgufValue};

/// Reads it.
///
/// # Errors
/// When the file has none, or one that is not known.
pub(super) fn read(file: &GgufFile) -> Result<LlamaTokenizer> {
    Ok(LlamaTokenizer::from_parts(&parts(file)?)?)
}

fn parts(file: &GgufFile) -> Result<TokenizerParts> {
    let path = file.path().display();
    let get = |key: &str| file.metadata().get(&format!("tokenizer.ggml.{key}"));
    let need = |key: &str| {
        get(key).with_context(|| format!("GGUF file `{path}` has no tokenizer: no `tokenizer.ggml.{key}`"))
    };
    let wrong = |key: &str| format!("`{path}`: `tokenizer.ggml.{key}` is not of the type it has to be");
    let texts = |key: &str| need(key)?.as_texts().map(<[String]>::to_vec).with_context(|| wrong(key));
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
                .with_context(|| wrong("scores"))?,
            add_space_prefix: flag("add_space_prefix").unwrap_or(true),
        },
        "gpt2" => Pieces::Merges {
            merges: texts("merges")?,
            pre: get("pre").and_then(GgufValue::as_text).unwrap_or("default").to_owned(),
        },
        other => bail!("`{path}` has a tokenizer of the model `{other}`; llama and gpt2 are supported"),
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
