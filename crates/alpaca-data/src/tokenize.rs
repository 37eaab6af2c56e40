//! Records to token ids and labels.

use std::fmt;

use llama_tokenizer::LlamaTokenizer;
use nn_core::IGNORE_INDEX;
use rayon::prelude::*;

use crate::{DataError, PromptTemplate, Record};

/// Token ids and labels of one sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Example {
    /// Token ids, at most `cutoff_len`.
    pub input_ids: Vec<i64>,
    /// Labels, as many; [`IGNORE_INDEX`] where nothing is to be learnt.
    pub labels: Vec<i64>,
}

/// How records are tokenised; defaults and names are alpaca-lora's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenizeConfig {
    /// The most tokens of an example; what is longer is cut off at its end.
    pub cutoff_len: usize,
    /// Whether the prompt is learnt as well as the answer.
    pub train_on_inputs: bool,
    /// Accepted for alpaca-lora's sake. There it never reached the examples themselves: they end with EOS wherever
    /// `cutoff_len` leaves room, and so do they here.
    pub add_eos_token: bool,
}

impl Default for TokenizeConfig {
    fn default() -> Self {
        Self { cutoff_len: 256, train_on_inputs: true, add_eos_token: false }
    }
}

/// What became of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenizeReport {
    /// Examples made.
    pub examples: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Tokens that count in the loss.
    pub labels: usize,
    /// Examples that were cut off, and so do not end with EOS.
    pub cut_off: usize,
    /// Records left out, for nothing of the answer lay within `cutoff_len`.
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

/// Tokenises records in parallel: BOS, prompt, answer, EOS.
///
/// With `train_on_inputs` off, a token is masked when it ends within the prompt. The prompt's end is found by the
/// offsets of the whole text's tokens, not by tokenising the prompt apart, which may cut it elsewhere.
///
/// # Errors
/// [`DataError`] when `cutoff_len` is under 2, a text cannot be tokenised, or no record has a label.
pub fn tokenize_records(
    records: &[Record],
    template: &PromptTemplate,
    tokenizer: &LlamaTokenizer,
    config: &TokenizeConfig,
) -> Result<(Vec<Example>, TokenizeReport), DataError> {
    if config.cutoff_len < 2 {
        return Err(DataError::TooShort { name: "cutoff_len", actual: config.cutoff_len, least: 2 });
    }
    let examples = records
        .par_iter()
        .enumerate()
        .map(|(index, record)| {
            example(record, template, tokenizer, config)
                .map_err(|source| DataError::Tokenize { index, source })
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
        return Err(DataError::NoLabels { records: records.len(), cutoff_len: config.cutoff_len });
    }
    Ok((kept, report))
}

/// One record, and whether it was cut off.
fn example(
    record: &Record,
    template: &PromptTemplate,
    tokenizer: &LlamaTokenizer,
    config: &TokenizeConfig,
) -> Result<(Example, bool), llama_tokenizer::TokenizerError> {
    let prompt = template.prompt(&record.instruction, Some(&record.input));
    let prompt_end = prompt.len();
    let text = prompt + &record.output;
    let (mut input_ids, offsets) = if config.train_on_inputs {
        (tokenizer.encode(&text, true)?, Vec::new())
    } else {
        tokenizer.encode_with_offsets(&text, true)?
    };
    let eos = tokenizer.eos_id();
    let cut_off = input_ids.len() > config.cutoff_len;
    input_ids.truncate(config.cutoff_len);
    if input_ids.len() < config.cutoff_len && input_ids.last() != Some(&eos) {
        input_ids.push(eos);
    }
    let mut labels = input_ids.clone();
    for (label, &(_, end)) in labels.iter_mut().zip(&offsets) {
        if end <= prompt_end {
            *label = IGNORE_INDEX;
        }
    }
    Ok((Example { input_ids, labels }, cut_off))
}
