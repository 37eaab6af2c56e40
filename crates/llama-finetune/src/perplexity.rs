//! Perplexity of a loaded model.

use alpaca_data::{PromptTemplate, Record, TokenizeConfig, tokenize_records};
use infer::{InferError, Perplexity};
use llama_model::Llama;
use llama_tokenizer::LlamaTokenizer;
use nn_core::{Dataset, Mode, NnError, TokenBatch, TorchContext};

use crate::FinetuneError;

/// Computes the perplexity of the answers of records, end tokens included; the prompts are context.
///
/// # Errors
/// [`FinetuneError`] when a record cannot be tokenised or the model fails.
pub fn answer_perplexity(
    model: &Llama,
    tokenizer: &LlamaTokenizer,
    template: &PromptTemplate,
    records: &[Record],
) -> Result<Perplexity, FinetuneError> {
    let cutoff_len = model.config().context_len() as usize;
    let config = TokenizeConfig { cutoff_len, train_on_inputs: false, add_eos_token: true };
    let (examples, _) = tokenize_records(records, template, tokenizer, &config)?;
    batch_perplexity(model, (0..examples.len()).map(|index| examples.batch(&[index])))
}

/// Computes the perplexity of a text, read in windows of the model's context that overlap by half.
///
/// # Errors
/// [`FinetuneError`] when the text has nothing to predict or the model fails.
pub fn text_perplexity(
    model: &Llama,
    tokenizer: &LlamaTokenizer,
    text: &str,
) -> Result<Perplexity, FinetuneError> {
    let context = model.config().context_len() as usize;
    let ids = tokenizer.encode(text, true)?;
    batch_perplexity(model, infer::windows(&ids, context, (context / 2).max(1))?)
}

/// Computes the perplexity of the labels of `batches`.
fn batch_perplexity(
    model: &Llama,
    batches: impl IntoIterator<Item = TokenBatch>,
) -> Result<Perplexity, FinetuneError> {
    let nll = |batch: &TokenBatch| -> Result<f64, NnError> {
        let loss = tch::no_grad(|| model.loss_sum(batch, Mode::Eval))?;
        Ok(f64::try_from(&loss).op("read")?)
    };
    infer::perplexity(batches, nll).map_err(|error| match error {
        InferError::NotFinite { .. } => InferError::not_finite(model).into(),
        other => other.into(),
    })
}
