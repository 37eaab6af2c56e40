//! Text of an example, before it is tokenised.

use std::ops::Range;

/// Text to train on, and the parts of it that are answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrainingText {
    /// Prompts and answers, as the model reads them.
    pub text: String,
    /// Byte ranges of the answers, in order: what is learnt unless `train_on_inputs`.
    pub answers: Vec<Range<usize>>,
    /// Puts BOS before the text and EOS after it. A chat template writes its own.
    pub add_special_tokens: bool,
}

impl TrainingText {
    /// Joins a prompt and the answer to it.
    pub fn answer(prompt: String, answer: &str) -> Self {
        let range = prompt.len()..prompt.len() + answer.len();
        Self { text: prompt + answer, answers: vec![range], add_special_tokens: true }
    }

    /// Checks whether the token of bytes `start..end` is learnt: it reaches into an answer. Tokens that straddle a
    /// prompt's end are.
    pub(crate) fn is_learnt(&self, (start, end): (usize, usize)) -> bool {
        self.answers.iter().any(|answer| start < answer.end && end > answer.start)
    }
}
