//! Texts to token ids and labels.

use std::fmt;

use llama_tokenizer::{LlamaTokenizer, TokenizerError};
use nn_core::IGNORE_INDEX;
use rayon::prelude::*;

use crate::{DataError, Example, PromptTemplate, Record, TrainingText};

/// Settings of tokenising; defaults and names are alpaca-lora's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizeConfig {
    /// Limit on the tokens of an example; longer ones are cut off at their end.
    pub cutoff_len: usize,
    /// Learn the prompts as well as the answers.
    pub train_on_inputs: bool,
    /// Accepted and without effect, as in alpaca-lora: records end with EOS wherever `cutoff_len` leaves room.
    pub add_eos_token: bool,
}

impl Default for TokenizeConfig {
    fn default() -> Self {
        Self { cutoff_len: 256, train_on_inputs: true, add_eos_token: false }
    }
}

/// Counts of what [`tokenize`] made and left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenizeReport {
    /// Examples made.
    pub examples: usize,
    /// Tokens of all examples.
    pub tokens: usize,
    /// Tokens that count in the loss.
    pub labels: usize,
    /// Examples cut off at `cutoff_len`, which lack their end token.
    pub cut_off: usize,
    /// Records left out because no token of an answer lies within `cutoff_len`.
    pub without_answer: usize,
}

impl fmt::Display for TokenizeReport {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{} examples, {} tokens, {} of them labels",
            self.examples, self.tokens, self.labels
        )?;
        if self.cut_off > 0 {
            write!(formatter, "; {} cut off at cutoff_len", self.cut_off)?;
        }
        if self.without_answer > 0 {
            write!(formatter, "; {} left out, their prompt alone reaches cutoff_len", self.without_answer)?;
        }
        Ok(())
    }
}

/// Tokenises Alpaca records: [`tokenize`] of their texts.
///
/// # Errors
/// Those of [`tokenize`].
pub fn tokenize_records(
    records: &[Record],
    template: &PromptTemplate,
    tokenizer: &LlamaTokenizer,
    config: &TokenizeConfig,
) -> Result<(Vec<Example>, TokenizeReport), DataError> {
    let texts: Vec<TrainingText> = records.iter().map(|record| record.render(template)).collect();
    tokenize(&texts, tokenizer, config)
}

/// Tokenises texts in parallel, between BOS and EOS where they ask for them.
///
/// Unless `train_on_inputs`, tokens that end before an answer begins, or begin after it ends, are masked. They are found
/// by the offsets of the whole text's tokens, not by tokenising its parts, which may be cut elsewhere.
///
/// # Errors
/// [`DataError`] when `cutoff_len` is under 2, a text cannot be tokenised, or no text has a label.
pub fn tokenize(
    texts: &[TrainingText],
    tokenizer: &LlamaTokenizer,
    config: &TokenizeConfig,
) -> Result<(Vec<Example>, TokenizeReport), DataError> {
    if config.cutoff_len < 2 {
        return Err(DataError::TooShort { name: "cutoff_len", actual: config.cutoff_len, least: 2 });
    }
    let examples = texts
        .par_iter()
        .enumerate()
        .map(|(index, text)| {
            example(text, tokenizer, config).map_err(|source| DataError::Tokenize { index, source })
        })
        .collect::<Result<Vec<_>, _>>()?;

    let mut report = TokenizeReport::default();
    let mut kept = Vec::with_capacity(examples.len());
    for (example, cut_off) in examples {
        let labels = example.labels.iter().skip(1).filter(|&&label| label != IGNORE_INDEX).count();
        if labels == 0 {
            report.without_answer += 1;
            continue;
        }
        report.examples += 1;
        report.tokens += example.input_ids.len();
        report.labels += labels;
        report.cut_off += usize::from(cut_off);
        kept.push(example);
    }
    if kept.is_empty() {
        return Err(DataError::NoLabels { records: texts.len(), cutoff_len: config.cutoff_len });
    }
    Ok((kept, report))
}

/// Tokenises one text; also returns whether it was cut off.
fn example(
    text: &TrainingText,
    tokenizer: &LlamaTokenizer,
    config: &TokenizeConfig,
) -> Result<(Example, bool), TokenizerError> {
    let (mut input_ids, offsets) = if config.train_on_inputs {
        (tokenizer.encode(&text.text, text.add_special_tokens)?, Vec::new())
    } else {
        tokenizer.encode_with_offsets(&text.text, text.add_special_tokens)?
    };
    let eos = tokenizer.eos_id();
    let cut_off = input_ids.len() > config.cutoff_len;
    input_ids.truncate(config.cutoff_len);
    if text.add_special_tokens && input_ids.len() < config.cutoff_len && input_ids.last() != Some(&eos) {
        input_ids.push(eos);
    }
    let mut labels = input_ids.clone();
    for (label, &offsets) in labels.iter_mut().zip(&offsets) {
        if !text.is_learnt(offsets) {
            *label = IGNORE_INDEX;
        }
    }
    Ok((Example { input_ids, labels }, cut_off))
}
