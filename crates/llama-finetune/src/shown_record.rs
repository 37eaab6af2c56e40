//! Records that are asked again and again while a model learns.

use alpaca_data::TrainingText;
use infer::{GenerateConfig, generate};
use llama_tokenizer::LlamaTokenizer;
use nn_core::CausalLm;

use crate::FinetuneError;
use crate::text::Decoder;

/// Records that are shown.
const COUNT: usize = 3;
/// Longest text of one, in bytes.
const MOST_BYTES: usize = 2000;
/// Tokens of an answer.
const MAX_NEW_TOKENS: usize = 64;

/// A record's prompt, as the model reads it, and its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownRecord {
    /// Text before the answer.
    pub prompt: String,
    /// Answer of the record.
    pub reference: String,
    /// Puts BOS before the prompt; a chat template writes its own.
    add_bos: bool,
}

impl ShownRecord {
    /// Chooses the first few of `records` that are not long. A text without a prompt is asked by its first half.
    pub(crate) fn choose(records: &[TrainingText]) -> Vec<Self> {
        let short = records.iter().filter(|record| record.text.len() <= MOST_BYTES);
        short.filter_map(Self::of).take(COUNT).collect()
    }

    fn of(record: &TrainingText) -> Option<Self> {
        let TrainingText { text, answers, add_special_tokens } = record;
        let answer = answers.first()?;
        let middle = (text.len() / 2..text.len()).find(|&at| text.is_char_boundary(at))?;
        let (start, end) = if answer.start > 0 { (answer.start, answer.end) } else { (middle, text.len()) };
        let (prompt, reference) = (text.get(..start)?, text.get(start..end)?);
        let add_bos = *add_special_tokens;
        (!prompt.trim().is_empty()).then(|| Self {
            prompt: prompt.to_owned(),
            reference: reference.to_owned(),
            add_bos,
        })
    }
}

/// Answers the prompts of `records` greedily, together.
///
/// # Errors
/// [`FinetuneError`] when a prompt has no room in the context, or the model fails.
pub fn answer_records(
    model: &dyn CausalLm,
    tokenizer: &LlamaTokenizer,
    eos_ids: &[i64],
    records: &[ShownRecord],
) -> Result<Vec<String>, FinetuneError> {
    let ids = records.iter().map(|record| tokenizer.encode(&record.prompt, record.add_bos));
    let ids = ids.collect::<Result<Vec<_>, _>>()?;
    let config = GenerateConfig {
        eos_ids: eos_ids.to_vec(),
        max_new_tokens: MAX_NEW_TOKENS,
        ..GenerateConfig::default()
    };
    Ok(generate(model, &Decoder(tokenizer), &ids, &config)?.into_iter().map(|answer| answer.text).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_are_the_texts_before_the_answers() {
        let plain = TrainingText {
            text: "ab\u{e9}cd".to_owned(),
            answers: std::iter::once(0..6).collect(),
            add_special_tokens: true,
        };
        let long = TrainingText::answer("x".repeat(3000), "y");
        let records = [TrainingText::answer("Say sun.".to_owned(), "sun"), long, plain];
        let shown = ShownRecord::choose(&records);
        let texts: Vec<(&str, &str)> = shown.iter().map(|one| (&*one.prompt, &*one.reference)).collect();
        assert_eq!(texts, [("Say sun.", "sun"), ("ab\u{e9}", "cd")]);
    }
}
