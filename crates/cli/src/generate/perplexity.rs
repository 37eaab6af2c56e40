//! How well a model predicts a text.

use std::path::Path;

use alpaca_data::{BadRecords, TokenizeConfig, batch, load_records, tokenize_records};
use anyhow::{Context, Result};
use infer::windows;
use nn_core::{Mode, NnError, TokenBatch, TorchContext};

use super::source::Loaded;
use crate::report::print;

/// Prints the perplexity of a file: the answers of Alpaca records when its name ends in `.json` or `.jsonl`, a text
/// otherwise, read in windows of the model's context that overlap by half.
pub(crate) fn run(source: &Loaded, path: &Path) -> Result<()> {
    let context = source.model.config().max_position_embeddings as usize;
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let (batches, what) = if ["json", "jsonl"].contains(&extension) {
        let records = load_records(path, BadRecords::Refuse)?.records;
        let config = TokenizeConfig { cutoff_len: context, train_on_inputs: false, add_eos_token: true };
        let text = &source.text;
        let (examples, _) = tokenize_records(&records, &text.template, &text.tokenizer, &config)?;
        let batches: Vec<TokenBatch> = (0..examples.len()).map(|index| batch(&examples, &[index])).collect();
        (batches, format!("the answers of {} records", examples.len()))
    } else {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let ids = source.text.tokenizer.encode(&text, true)?;
        let stride = (context / 2).max(1);
        (windows(&ids, context, stride)?, format!("a text, in windows of {context} tokens"))
    };
    let nll = |batch: &TokenBatch| -> Result<f64, NnError> {
        let loss = tch::no_grad(|| source.model.loss_sum(batch, Mode::Eval))?;
        Ok(f64::try_from(&loss).op("read")?)
    };
    let result = infer::perplexity(batches, nll)?;
    print(&format!(
        "perplexity {:.4} ({:.5} nats a token, {} tokens: {what})\n",
        result.perplexity, result.mean_nll, result.tokens
    ));
    Ok(())
}
