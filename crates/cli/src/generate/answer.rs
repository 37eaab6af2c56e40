//! One answer, measured.

use std::time::Instant;

use anyhow::{Result, bail};
use infer::{BatchEvent, Batcher, FinishReason, GenerateConfig, Generation, InferError, Request};
use nn_core::CausalLm;

use super::source::Loaded;
use crate::signals::Interrupt;

/// An answer and what it took.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) generation: Generation,
    pub(crate) prompt_tokens: usize,
    pub(crate) first_token_s: f64,
    pub(crate) seconds: f64,
}

/// The settings with the source's end tokens.
pub(crate) fn config_of(source: &Loaded, sampling: &GenerateConfig) -> GenerateConfig {
    GenerateConfig { eos_ids: source.eos_ids.clone(), ..sampling.clone() }
}

/// The word for why an answer ended.
pub(crate) fn finish_name(finish: FinishReason) -> &'static str {
    match finish {
        FinishReason::Eos | FinishReason::Stop => "stop",
        FinishReason::Length => "length",
        FinishReason::Cancelled => "cancelled",
    }
}

impl Answer {
    /// Returns tokens, times and the reason of the end, for people.
    pub(crate) fn figures(&self) -> String {
        let tokens = self.generation.ids.len();
        format!(
            "{} tokens in, {tokens} out, first after {:.0} ms, {:.1} tokens/s, {}",
            self.prompt_tokens,
            1000.0 * self.first_token_s,
            tokens as f64 / self.seconds.max(1e-9),
            match self.generation.finish {
                FinishReason::Eos => "ended by itself",
                FinishReason::Stop => "ended by a stop string",
                FinishReason::Length => "ended by max_new_tokens",
                FinishReason::Cancelled => "interrupted",
            }
        )
    }
}

/// Answers one prompt; `on_text` gets the text as it comes. Ends early when interrupted.
///
/// # Errors
/// When the prompt has no room, or the model fails.
pub(crate) fn answer(
    source: &Loaded,
    prompt: Vec<i64>,
    sampling: &GenerateConfig,
    interrupt: &Interrupt,
    on_text: &mut dyn FnMut(&str),
) -> Result<Answer> {
    let begun = Instant::now();
    let config = config_of(source, sampling);
    let prompt_tokens = prompt.len();
    let capacity = source.model.max_len().min(prompt_tokens + config.max_new_tokens);
    if prompt_tokens >= source.model.max_len() {
        return Err(
            InferError::PromptTooLong { tokens: prompt_tokens, capacity: source.model.max_len() }.into()
        );
    }
    let mut batcher = Batcher::new(&source.model, &*source.text, config.sampling.num_beams, capacity)?;
    let id = batcher.add(Request { prompt, config })?;
    let mut first_token_s = None;
    let finished = |generation, first: Option<f64>| Answer {
        generation,
        prompt_tokens,
        first_token_s: first.unwrap_or_default(),
        seconds: begun.elapsed().as_secs_f64(),
    };
    while !batcher.is_idle() {
        if interrupt.is_asked() {
            let empty = Generation { ids: Vec::new(), text: String::new(), finish: FinishReason::Cancelled };
            return Ok(finished(batcher.cancel(id).unwrap_or(empty), first_token_s));
        }
        for event in batcher.step() {
            match event {
                BatchEvent::Token { text, .. } => {
                    first_token_s.get_or_insert_with(|| begun.elapsed().as_secs_f64());
                    on_text(&text);
                }
                BatchEvent::Finished { generation, .. } => return Ok(finished(generation, first_token_s)),
                BatchEvent::Failed { error, .. } => return Err(error.into()),
            }
        }
    }
    bail!("the answer came to no end")
}
