//! Text out of a model.

use infer::{BoxError, GenerateConfig, TokenText, generate};
use llama_tokenizer::LlamaTokenizer;
use nn_core::CausalLm;

use crate::FinetuneError;

/// The tokenizer as the decoder that generation asks for.
pub(crate) struct Decoder<'a>(pub(crate) &'a LlamaTokenizer);

impl TokenText for Decoder<'_> {
    fn decode(&self, ids: &[i64]) -> Result<String, BoxError> {
        Ok(self.0.decode(ids, true)?)
    }
}

/// Continues `prompt` and returns the new text. Without `eos_ids` in `config`, the tokenizer's end token ends the text.
///
/// # Errors
/// [`FinetuneError`] when a setting is out of its range, the prompt leaves no room for an answer, or the model fails.
pub fn generate_text(
    model: &dyn CausalLm,
    tokenizer: &LlamaTokenizer,
    prompt: &str,
    config: &GenerateConfig,
) -> Result<String, FinetuneError> {
    let mut config = config.clone();
    if config.eos_ids.is_empty() {
        config.eos_ids.push(tokenizer.eos_id());
    }
    let prompts = [tokenizer.encode(prompt, true)?];
    let answers = generate(model, &Decoder(tokenizer), &prompts, &config)?;
    Ok(answers.into_iter().next().map(|answer| answer.text).unwrap_or_default())
}
