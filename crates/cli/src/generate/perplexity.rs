//! Perplexity of a text or of records.

use std::path::Path;

use alpaca_data::{BadRecords, load_records};
use anyhow::{Context, Result};
use llama_finetune::{answer_perplexity, text_perplexity};

use super::source::Loaded;
use crate::output::{MAX_TEXT_BYTES, print_result};

/// Prints the perplexity of a file: the answers of Alpaca records when its name ends in `.json` or `.jsonl`, a text
/// otherwise, read in windows of the model's context that overlap by half.
pub(crate) fn run(source: &Loaded, path: &Path) -> Result<()> {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let text = &source.text;
    let (result, what) = if ["json", "jsonl"].contains(&extension) {
        let records = load_records(path, BadRecords::Refuse)?.records;
        let result = answer_perplexity(&source.model, &text.tokenizer, &text.template, &records)?;
        (result, format!("the answers of {} records", records.len()))
    } else {
        let context = source.model.config().context_len() as usize;
        let file = weights::read_text(path, MAX_TEXT_BYTES)
            .with_context(|| format!("cannot read `{}`", path.display()))?;
        let result = text_perplexity(&source.model, &text.tokenizer, &file)?;
        (result, format!("a text, in windows of {context} tokens"))
    };
    print_result(&format!(
        "perplexity {:.4} ({:.5} nats a token, {} tokens: {what})\n",
        result.perplexity, result.mean_nll, result.tokens
    ))
}
