//! A request on its way into a source's queue.

use std::ops::Range;
use std::sync::Arc;

use infer::GenerateConfig;

use super::error::ApiError;
use super::prompt::Prompt;
use super::state::{App, RunningSource};
use crate::answer::{AnswerReceiver, SubmitRequest};
use crate::fair_queue::Client;

/// Queued answers to one prompt, as their handler sees them.
#[derive(Debug)]
pub(crate) struct Submitted {
    pub(crate) answers: Vec<AnswerReceiver>,
    pub(crate) prompt: Vec<i64>,
}

impl App {
    /// Checks a request's settings and its prompt against the limits, and queues the answers of these numbers to it.
    pub(crate) async fn submit(
        &self,
        source: &Arc<RunningSource>,
        client: &Client,
        prompt: Prompt,
        mut config: GenerateConfig,
        max_tokens: Option<usize>,
        answers: Range<usize>,
    ) -> Result<Submitted, ApiError> {
        let limits = &self.config.limits;
        if let Some(tokens) = max_tokens.filter(|&tokens| tokens > limits.new_tokens) {
            let message = format!("max_tokens is {tokens}; this server writes at most {}", limits.new_tokens);
            return Err(ApiError::too_large("max_tokens_too_large", message));
        }
        if config.sampling.num_beams > self.rows() {
            let (beams, rows) = (config.sampling.num_beams, self.rows());
            let message = format!("num_beams is {beams}; this server follows at most {rows}");
            return Err(ApiError::invalid("num_beams", message));
        }
        if answers.len() > limits.queue_len {
            let message = format!("n is {}; at most {} answers wait here", answers.len(), limits.queue_len);
            return Err(ApiError::invalid("n", message));
        }
        config.validate().map_err(|error| ApiError::malformed(error.to_string()))?;
        let ids = self.ids(source, client, prompt).await?;
        let count = ids.len();
        if count == 0 {
            return Err(ApiError::invalid("prompt", "the prompt has no tokens; expected at least one"));
        }
        let longest = self.longest_prompt(source);
        if count > longest {
            let message = format!("the prompt has {count} tokens; this server reads at most {longest}");
            return Err(ApiError::too_large("context_length_exceeded", message));
        }
        let room = source.capacity - count;
        if let Some(tokens) = max_tokens.filter(|&tokens| tokens > room) {
            let message = format!(
                "the prompt's {count} tokens and max_tokens {tokens} are more than the {} of this model's context",
                source.capacity
            );
            return Err(ApiError::too_large("context_length_exceeded", message));
        }
        config.max_new_tokens = max_tokens.unwrap_or(room.min(limits.new_tokens));
        config.eos_ids.clone_from(&source.eos_ids);
        let request = |answer| {
            let mut config = config.clone();
            config.sampling = config.sampling.of_answer(answer);
            SubmitRequest { client: client.clone(), prompt: ids.clone(), config }
        };
        let answers = source.queue.submit(answers.map(request).collect())?;
        Ok(Submitted { answers, prompt: ids })
    }
}
