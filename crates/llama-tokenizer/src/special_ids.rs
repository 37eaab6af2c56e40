//! The special token ids of a model's configuration, compared with its tokenizer.

use std::fmt;

use crate::LlamaTokenizer;

/// A special token id of a model's configuration that does not fit its tokenizer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecialIdProblem {
    field: &'static str,
    actual: i64,
    actual_token: Option<String>,
    expected: i64,
    expected_token: Option<String>,
}

impl fmt::Display for SpecialIdProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |token: &Option<String>| {
            token.as_ref().map_or_else(|| "no token".to_owned(), |token| format!("`{token}`"))
        };
        write!(
            formatter,
            "config.json says {} is {} ({}), the tokenizer says {} ({}); early LLaMA conversions got this wrong, the \
             tokenizer's is used",
            self.field,
            self.actual,
            quoted(&self.actual_token),
            self.expected,
            quoted(&self.expected_token)
        )
    }
}

/// Compares the special ids of a model's `config.json` with its tokenizer and explains each that is wrong: a begin token
/// other than the tokenizer's, end tokens without the tokenizer's, a padding id outside the vocabulary.
pub fn check_special_ids(
    tokenizer: &LlamaTokenizer,
    bos: Option<i64>,
    eos: &[i64],
    pad: Option<i64>,
) -> Vec<SpecialIdProblem> {
    let problem = |field, actual, expected| SpecialIdProblem {
        field,
        actual,
        actual_token: tokenizer.token(actual),
        expected,
        expected_token: tokenizer.token(expected),
    };
    let mut problems = Vec::new();
    if let Some(bos) = bos.filter(|&bos| bos != tokenizer.bos_id()) {
        problems.push(problem("bos_token_id", bos, tokenizer.bos_id()));
    }
    if let Some(&first) = eos.first().filter(|_| !eos.contains(&tokenizer.eos_id())) {
        problems.push(problem("eos_token_id", first, tokenizer.eos_id()));
    }
    if let Some(pad) = pad.filter(|&pad| tokenizer.token(pad).is_none()) {
        problems.push(problem("pad_token_id", pad, tokenizer.pad_id()));
    }
    problems
}
