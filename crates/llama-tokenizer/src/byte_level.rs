//! BPE over bytes, as GPT-2 has it, and how texts are cut before it.

use serde_json::{Map, Value, json};

/// The ways of cutting that are known (llama.cpp `llama-vocab.cpp`, `tokenizer.ggml.pre`).
pub(crate) const KNOWN: [&str; 8] =
    ["default", "gpt-2", "llama-bpe", "llama-v3", "llama3", "smollm", "refact", "qwen2"];

/// Llama 3's cuts (`llama_models/llama3/tokenizer.py`, `pat_str`).
const LLAMA_3: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// Qwen's, which are Llama 3's with digits one by one (transformers `convert_slow_tokenizer.py`, `Qwen2Converter`).
const QWEN_2: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*",
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// Returns the pattern that cuts a text before its bytes are merged; `None` for an unknown name.
pub(crate) fn pre_tokenizer(pre: &str) -> Option<Value> {
    let bytes = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
    let sequence = |first: Value, then: Value| json!({"type": "Sequence", "pretokenizers": [first, then]});
    let split = |pattern: &str| {
        let cuts =
            json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
        Some(sequence(cuts, bytes(false)))
    };
    match pre {
        // A file from before there was a choice; GPT-2's cuts are the form's own.
        "default" | "gpt-2" => Some(bytes(true)),
        _ if is_llama_3(pre) => split(LLAMA_3),
        "qwen2" => split(QWEN_2),
        // Digits one by one, then GPT-2's.
        "smollm" | "refact" => {
            Some(sequence(json!({"type": "Digits", "individual_digits": true}), bytes(true)))
        }
        _ => None,
    }
}

/// Returns the name of the pattern that a `tokenizer.json` spells out; `None` for one that is not known.
pub(crate) fn name_of(spelt: &Value) -> Option<&'static str> {
    // What a file says beyond kind, cuts and order is of no consequence for what is cut.
    let essence = |value: &Value| -> Vec<String> {
        let list = value["pretokenizers"].as_array().cloned().unwrap_or_else(|| vec![value.clone()]);
        let keys = ["type", "use_regex", "individual_digits", "pattern"];
        list.iter().map(|step| keys.map(|key| step[key].to_string()).join(" ")).collect()
    };
    let known = ["llama-bpe", "smollm", "gpt-2", "qwen2"];
    known.into_iter().find(|name| pre_tokenizer(name).is_some_and(|known| essence(&known) == essence(spelt)))
}

/// Tells whether texts begin with the begin token where the file does not say (llama.cpp's choice).
pub(crate) fn begins_texts(pre: &str) -> bool {
    is_llama_3(pre)
}

fn is_llama_3(pre: &str) -> bool {
    ["llama-bpe", "llama-v3", "llama3"].contains(&pre)
}

/// Makes the contents of a `tokenizer.json` without its added tokens.
pub(crate) fn to_tokenizer_json(
    tokens: &[String],
    merges: &[[&str; 2]],
    pre_tokenizer: &Value,
    pre: &str,
) -> Value {
    let vocab: Map<String, Value> =
        tokens.iter().enumerate().map(|(id, token)| (token.clone(), id.into())).collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [],
        // Qwen's texts are composed first.
        "normalizer": (pre == "qwen2").then(|| json!({"type": "NFC"})),
        "pre_tokenizer": pre_tokenizer,
        "post_processor": null,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            // Llama 3 takes a piece that is a token whole, whatever the merges make of it.
            "ignore_merges": is_llama_3(pre),
            "vocab": vocab,
            "merges": merges,
        },
    })
}
