//! One text that is continued token by token.

use nn_core::TorchContext;
use tch::Tensor;

use crate::device_draw::Choice;
use crate::draw::{Draws, draw};
use crate::process::{is_one, process_scores};
use crate::{FinishReason, GenerateConfig, InferError, TextStream, TokenText};

/// A text in the making: greedy or drawn at random.
#[derive(Debug)]
pub(crate) struct Sequence {
    /// Prompt and new tokens.
    text: Vec<i64>,
    prompt_len: usize,
    /// The most tokens to add.
    limit: usize,
    draws: Draws,
    pub(crate) stream: TextStream,
}

impl Sequence {
    pub(crate) fn new(prompt: &[i64], config: &GenerateConfig, limit: usize) -> Self {
        let mut text = Vec::with_capacity(prompt.len() + limit);
        text.extend_from_slice(prompt);
        let draws = Draws::new(config.sampling.seed);
        Self { text, prompt_len: prompt.len(), limit, draws, stream: stream(prompt, config) }
    }

    /// Returns the last token, which the model has not read yet.
    pub(crate) fn last(&self) -> i64 {
        self.text.last().copied().unwrap_or_default()
    }

    /// Returns what decides over the next token, where that is not simply the most probable one.
    pub(crate) fn choice<'a>(&'a self, place: usize, config: &'a GenerateConfig) -> Option<Choice<'a>> {
        let sampling = &config.sampling;
        if !sampling.do_sample && is_one(sampling.repetition_penalty) {
            return None;
        }
        let uniform = self.draws.uniform(self.text.len() - self.prompt_len, 0);
        Some(Choice { place, text: &self.text, sampling, uniform })
    }

    /// Chooses the next token after `logits` `[V]`; `best` is where they are largest, or what was chosen on their device. `scratch`
    /// is reused between calls.
    pub(crate) fn choose(
        &self,
        logits: &Tensor,
        best: i64,
        config: &GenerateConfig,
        scratch: &mut Vec<f32>,
    ) -> Result<i64, InferError> {
        let choice = self.choice(0, config).filter(|_| !logits.device().is_cuda());
        let Some(Choice { text, sampling, uniform, .. }) = choice else { return Ok(best) };
        read_scores(logits, scratch)?;
        process_scores(scratch, text, sampling, 1);
        Ok(if sampling.do_sample { draw(scratch, uniform) } else { first_largest(scratch) })
    }

    /// Adds a token; returns what can be shown now, and why the text ends if it does.
    pub(crate) fn accept(
        &mut self,
        token: i64,
        config: &GenerateConfig,
        decoder: &dyn TokenText,
    ) -> Result<(String, Option<FinishReason>), InferError> {
        let mut shown = String::new();
        let mut finish = config.eos_ids.contains(&token).then_some(FinishReason::Eos);
        if finish.is_none() {
            self.text.push(token);
            shown.push_str(self.stream.push(token, decoder)?);
            if self.text.len() - self.prompt_len >= self.limit {
                finish = Some(FinishReason::Length);
            }
        }
        if finish.is_some() {
            shown.push_str(self.stream.finish(decoder)?);
        }
        Ok((shown, if self.stream.stopped() { Some(FinishReason::Stop) } else { finish }))
    }
}

/// Begins the text of an answer to `prompt`, still empty.
pub(crate) fn stream(prompt: &[i64], config: &GenerateConfig) -> TextStream {
    let before = if config.continues_prompt { prompt } else { &[] };
    TextStream::after(before, &config.stop)
}

/// Copies `[.., V]` float32 into `scratch`.
pub(crate) fn read_scores(scores: &Tensor, scratch: &mut Vec<f32>) -> Result<(), InferError> {
    let count = scores.numel();
    scratch.resize(count, 0.0);
    scores.f_copy_data(scratch, count).op("copy_data")?;
    Ok(())
}

fn first_largest(scores: &[f32]) -> i64 {
    let mut best = 0;
    for (id, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = id;
        }
    }
    best as i64
}
