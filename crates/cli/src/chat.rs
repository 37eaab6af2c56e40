//! Chat template of a base model.

use alpaca_data::ChatTemplate;
use anyhow::Result;
use checkpoint::Base;
use llama_tokenizer::LlamaTokenizer;

/// Reads the chat template of a base, if it has one. One that is not valid Jinja fails when it is checked or used.
///
/// # Errors
/// When the file that should hold it cannot be read.
pub(crate) fn chat_template(base: &Base, tokenizer: &LlamaTokenizer) -> Result<Option<ChatTemplate>> {
    let tokens = base.chat_tokens(tokenizer);
    Ok(base.chat_template()?.map(|source| ChatTemplate::new(source, "", "").with_tokens(&tokens)))
}
