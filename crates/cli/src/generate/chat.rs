//! The chat template of a model.

use anyhow::{Context, Result};
use llama_tokenizer::LlamaTokenizer;
use serde_json::Value;
use serve::ChatTemplate;

use crate::base::Base;

/// The template beside a model's tokenizer: `chat_template.jinja`, or `chat_template` of `tokenizer_config.json`, which is
/// a text or a list of named ones.
///
/// # Errors
/// When there is one that cannot be read.
pub(crate) fn chat_template(base: &Base, tokenizer: &LlamaTokenizer) -> Result<Option<ChatTemplate>> {
    let file = base.dir.join("chat_template.jinja");
    let text = if file.exists() {
        Some(std::fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?)
    } else {
        let config = std::fs::read_to_string(base.dir.join("tokenizer_config.json")).unwrap_or_default();
        let config: Value = serde_json::from_str(&config).unwrap_or_default();
        named(&config["chat_template"])
    };
    let token = |id| tokenizer.token(id).unwrap_or_default();
    let (bos, eos) = (token(tokenizer.bos_id()), token(tokenizer.eos_id()));
    let read = |text| ChatTemplate::new(text, &bos, &eos);
    text.map(read).transpose().with_context(|| format!("the model `{}` cannot chat", base.dir.display()))
}

fn named(template: &Value) -> Option<String> {
    let text = match template {
        Value::Array(templates) => {
            let default = templates.iter().find(|template| template["name"] == "default");
            &default.or(templates.first())?["template"]
        }
        other => other,
    };
    text.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::named;
    use serde_json::json;

    #[test]
    fn a_template_is_a_text_or_the_default_of_a_list() {
        let listed = json!([{ "name": "tools", "template": "t" }, { "name": "default", "template": "d" }]);
        assert_eq!(named(&json!("x")).as_deref(), Some("x"));
        assert_eq!(named(&listed).as_deref(), Some("d"));
        assert_eq!(named(&json!(null)), None);
    }
}
