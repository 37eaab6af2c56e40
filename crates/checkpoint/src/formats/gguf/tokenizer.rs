//! The tokenizer in a GGUF file's metadata, both ways.

use llama_tokenizer::{LlamaTokenizer, Pieces, TokenizerParts};
use weights::{GgufArray, GgufFile, GgufValue};

use crate::CheckpointError;
use crate::generation_config::eos_ids;
use crate::merged_model::MergedModel;

/// Key of the chat template.
const CHAT_TEMPLATE: &str = "tokenizer.chat_template";

/// Reads the chat template, if there is one.
pub(super) fn chat_template(file: &GgufFile) -> Option<String> {
    file.metadata().get(CHAT_TEMPLATE).and_then(GgufValue::as_text).map(str::to_owned)
}

/// Reads the lists of the tokenizer.
pub(super) fn read(file: &GgufFile) -> Result<TokenizerParts, CheckpointError> {
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
        add_eos: flag("add_eos_token"),
    })
}

/// Makes the tokenizer's part of the metadata: a copy of the metadata of the base's `own` file where that is GGUF, else from the base's tokenizer.
pub(super) fn metadata(
    own: Option<&GgufFile>,
    model: &MergedModel<'_>,
) -> Result<Vec<(String, GgufValue)>, CheckpointError> {
    if let Some(own) = own {
        let own = own.metadata().iter().filter(|(key, _)| key.starts_with("tokenizer."));
        return Ok(own.map(|(key, value)| (key.to_owned(), value.clone())).collect());
    }
    let needed = |source| CheckpointError::TokenizerNeeded { source: Box::new(source) };
    let mut parts = model.base().tokenizer_parts().map_err(needed)?;
    parts.resize(model.config().vocab_size.max(0) as usize);
    let texts = |texts: Vec<String>| GgufValue::Array(GgufArray::Texts(texts));
    let mut metadata = Vec::new();
    let mut put = |key: &str, value: GgufValue| metadata.push((format!("tokenizer.ggml.{key}"), value));
    let kind = match &parts.pieces {
        Pieces::Scores { .. } => "llama",
        Pieces::Merges { .. } => "gpt2",
    };
    put("model", GgufValue::Text(kind.to_owned()));
    let pre = match &parts.pieces {
        Pieces::Scores { .. } => "default",
        Pieces::Merges { pre, .. } => pre,
    };
    put("pre", GgufValue::Text(pre.to_owned()));
    put("tokens", texts(parts.tokens));
    match parts.pieces {
        Pieces::Scores { scores, add_space_prefix } => {
            put("scores", GgufValue::Array(GgufArray::Floats(scores.into_iter().map(f64::from).collect())));
            put("add_space_prefix", GgufValue::Bool(add_space_prefix));
        }
        Pieces::Merges { merges, .. } => put("merges", texts(merges)),
    }
    put("token_type", GgufValue::Array(GgufArray::Integers(parts.token_types)));
    let ids =
        [("bos", parts.bos_id), ("eos", parts.eos_id), ("unknown", parts.unk_id), ("padding", parts.pad_id)];
    for (role, id) in ids {
        if let Some(id) = id {
            put(&format!("{role}_token_id"), GgufValue::Unsigned(id.into()));
        }
    }
    put("add_bos_token", GgufValue::Bool(parts.add_bos.unwrap_or(true)));
    let tokenizer = model.base().tokenizer()?;
    if tokenizer.with_gguf_prefix()?.is_some() {
        tracing::warn!(
            "a GGUF file puts a space before every text between special tokens, whatever it begins with; the base's tokenizer \
             does not, so that llama.cpp reads texts that begin with a space, or follow a special token, as other tokens"
        );
    }
    put("add_eos_token", GgufValue::Bool(parts.add_eos.unwrap_or(false)));
    for (role, id) in further_ends(model, &tokenizer) {
        put(&format!("{role}_token_id"), GgufValue::Unsigned(id));
    }
    if let Some(template) = model.base().chat_template()? {
        metadata.push((CHAT_TEMPLATE.to_owned(), GgufValue::Text(template)));
    }
    Ok(metadata)
}

/// Names the end tokens besides the tokenizer's own in the roles that llama.cpp ends an answer by too: the end of a turn, the
/// end of a message.
fn further_ends(model: &MergedModel<'_>, tokenizer: &LlamaTokenizer) -> Vec<(&'static str, u64)> {
    let mut ids = eos_ids(model.base(), tokenizer);
    ids.retain(|&id| id != tokenizer.eos_id());
    let mut ends = Vec::new();
    if let Some(at) = ids.iter().position(|&id| tokenizer.token(id).as_deref() == Some("<|eom_id|>")) {
        ends.push(("eom", ids.remove(at).unsigned_abs()));
    }
    for id in ids {
        if let Some(role) =
            ["eot", "eom"].into_iter().find(|role| ends.iter().all(|(taken, _)| taken != role))
        {
            ends.push((role, id.unsigned_abs()));
        } else {
            tracing::warn!("end token {id} is left out: a GGUF file has a place for three of them");
        }
    }
    ends
}
