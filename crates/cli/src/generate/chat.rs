//! The chat template of a model.

use alpaca_data::ChatTemplate;
use anyhow::{Context, Result};
use llama_tokenizer::LlamaTokenizer;

use checkpoint::Base;

/// The template of a base, ready to lay out messages.
///
/// # Errors
/// When there is one that cannot be read.
pub(crate) fn chat_template(base: &Base, tokenizer: &LlamaTokenizer) -> Result<Option<ChatTemplate>> {
    let token = |id| tokenizer.token(id).unwrap_or_default();
    let (bos, eos) = (token(tokenizer.bos_id()), token(tokenizer.eos_id()));
    let read = |text| ChatTemplate::new(text, &bos, &eos);
    let text = base.chat_template()?;
    text.map(read).transpose().with_context(|| format!("the model `{}` cannot chat", base.dir.display()))
}
