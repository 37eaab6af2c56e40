//! How well a loaded model predicts what it was not shown.

use alpaca_data::{PromptTemplate, Record, TokenizeConfig, batch, tokenize_records};
use anyhow::Result;
use infer::Perplexity;
use llama_model::Llama;
use llama_tokenizer::LlamaTokenizer;
use nn_core::{Mode, NnError, TokenBatch, TorchContext};

/// Perplexity of the answers of records, their end token included; the prompts are context.
///
/// # Errors
/// When a record cannot be tokenised or the model fails.
pub fn of_answers(
    model: &Llama,
    tokenizer: &LlamaTokenizer,
    template: &PromptTemplate,
    records: &[Record],
) -> Result<Perplexity> {
    let cutoff_len = model.config().max_position_embeddings as usize;
    let config = TokenizeConfig { cutoff_len, train_on_inputs: false, add_eos_token: true };
    let (examples, _) = tokenize_records(records, template, tokenizer, &config)?;
    of_batches(model, (0..examples.len()).map(|index| batch(&examples, &[index])))
}

/// Perplexity of the labels of `batches`.
///
/// # Errors
/// When there is nothing to predict or the model fails.
pub fn of_batches(model: &Llama, batches: impl IntoIterator<Item = TokenBatch>) -> Result<Perplexity> {
    let nll = |batch: &TokenBatch| -> Result<f64, NnError> {
        let loss = tch::no_grad(|| model.loss_sum(batch, Mode::Eval))?;
        Ok(f64::try_from(&loss).op("read")?)
    };
    Ok(infer::perplexity(batches, nll)?)
}
