//! Perplexity of a text or of records.

use std::path::Path;

use alpaca_data::{ReadConfig, load_records};
use anyhow::Result;
use llama_finetune::{TextModel, answer_perplexity, text_perplexity};
use terminal::print_result;

use super::source::Loaded;
use crate::exit::usage;
use crate::files::MAX_TEXT_BYTES;

/// Prints the perplexity of a file: the answers of Alpaca records when its name ends in `.json` or `.jsonl`, a text
/// otherwise, read in windows of the model's context that overlap by half.
pub(crate) fn run(source: &Loaded, path: &Path, read: &ReadConfig) -> Result<()> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let TextModel { model, tokenizer, template, .. } = &source.model;
    let (result, what) = if ["json", "jsonl"].contains(&extension) {
        let records = load_records(path, read.clone())?.records;
        let result = answer_perplexity(model, tokenizer, template, &records)?;
        (result, format!("the answers of {} records", records.len()))
    } else {
        let context = model.config().context_len() as usize;
        let file = weights::read_text(path, MAX_TEXT_BYTES)
            .map_err(|error| usage(format!("cannot read perplexity `{}`: {error}", path.display())))?;
        let result = text_perplexity(model, tokenizer, &file)?;
        (result, format!("a text, in windows of {context} tokens"))
    };
    Ok(print_result(&format!(
        "perplexity {:.4} ({:.5} nats a token, {} tokens: {what})\n",
        result.perplexity, result.mean_nll, result.tokens
    ))?)
}
