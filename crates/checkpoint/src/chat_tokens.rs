//! Special tokens that the files of a directory name, for its chat template.

use std::path::Path;

use serde_json::{Map, Value};

use crate::text_file::read_json;

/// List of further special tokens.
const ADDITIONAL: &str = "additional_special_tokens";

/// Reads every `…_token` of `tokenizer_config.json` and its `additional_special_tokens`; where it has no
/// `added_tokens_decoder`, those of `special_tokens_map.json` replace them (transformers `PreTrainedTokenizerBase`). One that
/// is null or empty is null. Damaged files count as silent.
pub(crate) fn tokens_in_dir(dir: &Path) -> Map<String, Value> {
    let read = |name: &str| -> Option<Map<String, Value>> {
        serde_json::from_value(read_json(&dir.join(name)).ok()?).ok()
    };
    let config = read("tokenizer_config.json").unwrap_or_default();
    let mut tokens = Map::new();
    add(&mut tokens, &config);
    if let Some(Value::Object(extra)) = config.get("extra_special_tokens") {
        add(&mut tokens, extra);
    }
    if !config.contains_key("added_tokens_decoder")
        && let Some(map) = read("special_tokens_map.json")
    {
        let more = tokens.remove(ADDITIONAL);
        add(&mut tokens, &map);
        if let Some(Value::Array(mut all)) = more {
            if let Some(Value::Array(others)) = tokens.remove(ADDITIONAL) {
                let others: Vec<Value> = others.into_iter().filter(|other| !all.contains(other)).collect();
                all.extend(others);
            }
            tokens.insert(ADDITIONAL.to_owned(), all.into());
        }
    }
    tokens
}

/// Adds the tokens among the entries of a file.
fn add(tokens: &mut Map<String, Value>, entries: &Map<String, Value>) {
    for (name, value) in entries {
        if name == ADDITIONAL {
            if let Value::Array(list) = value {
                let list = list.iter().filter_map(text).map(Value::from).collect();
                tokens.insert(name.clone(), Value::Array(list));
            }
        } else if name.ends_with("_token") && (value.is_null() || text(value).is_some()) {
            let text = text(value).filter(|text| !text.is_empty());
            tokens.insert(name.clone(), text.map_or(Value::Null, Value::from));
        }
    }
}

/// Reads a plain string, or an added token written out.
fn text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value["content"].as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_special_token_of_the_files_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let write =
            |name: &str, value: Value| std::fs::write(dir.path().join(name), value.to_string()).unwrap();
        let found = || Value::Object(tokens_in_dir(dir.path()));
        assert_eq!(found(), json!({}));
        let mut config = json!({
            "bos_token": null, "eos_token": { "content": "</s>", "special": true }, "unk_token": "<unk>", "add_bos_token": true,
            "additional_special_tokens": ["<a>", { "content": "<b>" }], "extra_special_tokens": { "image_token": "<i>" },
        });
        write("tokenizer_config.json", config.clone());
        write(
            "special_tokens_map.json",
            json!({ "pad_token": "<p>", "additional_special_tokens": ["<b>", "<c>"] }),
        );
        assert_eq!(
            found(),
            json!({ "bos_token": null, "eos_token": "</s>", "unk_token": "<unk>", "image_token": "<i>", "pad_token": "<p>",
                    "additional_special_tokens": ["<a>", "<b>", "<c>"] })
        );
        config["added_tokens_decoder"] = json!({});
        write("tokenizer_config.json", config);
        assert_eq!(found()["additional_special_tokens"], json!(["<a>", "<b>"]));
        assert!(found().get("pad_token").is_none());
    }
}
