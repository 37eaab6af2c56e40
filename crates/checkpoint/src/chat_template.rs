//! The chat template in a directory.

use std::path::Path;

use serde_json::Value;

use crate::CheckpointError;
use crate::text_file::{read_json, read_small};

/// Reads the template of a directory: `chat_template.jinja`, or in `tokenizer_config.json` one text, or several by
/// name of which `default` counts, or else the first (transformers `PreTrainedTokenizerBase`).
pub(crate) fn template_in_dir(dir: &Path) -> Result<Option<String>, CheckpointError> {
    let read = |name: &str| {
        let path = dir.join(name);
        path.exists().then(|| read_small(&path)).transpose()
    };
    if let Some(text) = read("chat_template.jinja")? {
        return Ok(Some(text));
    }
    let path = dir.join("tokenizer_config.json");
    let config = if path.exists() { Some(read_json(&path)?) } else { None };
    let template = config.as_ref().and_then(|config| match &config["chat_template"] {
        Value::String(text) => Some(text.as_str()),
        Value::Array(named) => {
            let default = named.iter().find(|entry| entry["name"] == "default");
            default.or(named.first())?["template"].as_str()
        }
        _ => None,
    });
    Ok(template.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chat_template_jinja_comes_before_tokenizer_config() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let found = || template_in_dir(dir.path()).unwrap();
        assert_eq!(found(), None);
        write("tokenizer_config.json", r#"{"bos_token": "<s>"}"#);
        assert_eq!(found(), None);
        write("tokenizer_config.json", r#"{"chat_template": "one"}"#);
        assert_eq!(found().as_deref(), Some("one"));
        let several = r#"{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}"#;
        write("tokenizer_config.json", several);
        assert_eq!(found().as_deref(), Some("d"));
        write("tokenizer_config.json", r#"{"chat_template": [{"name": "rag", "template": "r"}]}"#);
        assert_eq!(found().as_deref(), Some("r"));
        write("chat_template.jinja", "own");
        assert_eq!(found().as_deref(), Some("own"));
    }

    #[test]
    fn a_template_that_is_no_regular_file_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat_template.jinja");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(matches!(template_in_dir(dir.path()), Err(CheckpointError::Read { .. })));
    }
}
