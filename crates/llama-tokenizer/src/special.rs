//! The tokens that begin, end and fill a text.

use std::path::Path;

use serde_json::Value;

/// Names of the special tokens that the files beside a tokenizer give; absent or empty ones are `None`.
#[derive(Debug)]
pub(crate) struct SpecialNames {
    pub(crate) bos: Option<String>,
    pub(crate) eos: Option<String>,
    pub(crate) unk: Option<String>,
    pub(crate) pad: Option<String>,
    /// Texts begin with the begin token: LLaMA's do, unless a file says that the model's do not.
    pub(crate) adds_bos: bool,
}

impl SpecialNames {
    /// Reads `tokenizer_config.json` and, for what that leaves open, `special_tokens_map.json`. Files that are absent or
    /// damaged count as silent: the vocabulary has the last word.
    pub(crate) fn beside(dir: &Path) -> Self {
        let mut names = Self { bos: None, eos: None, unk: None, pad: None, adds_bos: true };
        for file in ["tokenizer_config.json", "special_tokens_map.json"] {
            let text = std::fs::read_to_string(dir.join(file)).unwrap_or_default();
            let Ok(json) = serde_json::from_str::<Value>(&text) else { continue };
            // The classes of GPT-2, which SmolLM has, and of Qwen know no begin of a text.
            let begins_none = json["tokenizer_class"].as_str().is_some_and(|class| {
                ["GPT2Tokenizer", "Qwen2Tokenizer"].iter().any(|name| class.starts_with(name))
            });
            if !json["add_bos_token"].as_bool().unwrap_or(!begins_none) {
                names.adds_bos = false;
            }
            for (slot, key) in [
                (&mut names.bos, "bos_token"),
                (&mut names.eos, "eos_token"),
                (&mut names.unk, "unk_token"),
                (&mut names.pad, "pad_token"),
            ] {
                // A plain string, or an added token written out.
                let name = json[key].as_str().or_else(|| json[key]["content"].as_str());
                if let (None, Some(name)) = (&slot, name.filter(|name| !name.is_empty())) {
                    *slot = Some(name.to_owned());
                }
            }
        }
        names
    }
}
