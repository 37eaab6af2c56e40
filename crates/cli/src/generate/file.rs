//! Answers to a file of prompts.

use std::path::Path;

use anyhow::Result;
use infer::GenerateConfig;
use llama_finetune::{AnsweringTime, PromptFile};

use super::source::Loaded;

/// Answers the prompts of `file` into `output`, `rows` at a time, in order. Lines that are in `output` already stay.
pub(crate) fn run(
    source: &Loaded,
    mut file: PromptFile,
    output: &Path,
    rows: usize,
    sampling: &GenerateConfig,
) -> Result<()> {
    let (done, total, output) = (file.num_answered(), file.num_prompts(), output.display());
    if done > 0 {
        tracing::info!("{done} of {total} answers are in `{output}` already");
    }
    let AnsweringTime { tokens, seconds } = file.answer(&source.model, sampling, rows)?;
    let rate = tokens as f64 / seconds.max(1e-9);
    tracing::info!("{total} answers in `{output}`: {tokens} tokens in {seconds:.1} s, {rate:.1} tokens/s");
    Ok(())
}
