//! State shared by all requests.

use std::sync::{Arc, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use alpaca_data::Templates;
use infer::GenerateConfig;

use super::error::ApiError;
use super::prompt::Prompt;
use crate::answer::{AnswerReceiver, SubmitRequest};
use crate::prepare::Preparer;
use crate::request_queue::{Client, RequestQueue};
use crate::{ServeConfig, SourceText};

/// Source whose model is owned by its worker thread.
#[derive(Debug)]
pub(crate) struct RunningSource {
    pub(crate) name: String,
    pub(crate) description: String,
    pub(crate) queue: Arc<RequestQueue>,
    pub(crate) text: TextFunctions,
    pub(crate) templates: Templates,
    /// Reason for which its chat template is not used any more.
    pub(crate) stuck: OnceLock<String>,
    pub(crate) eos_ids: Vec<i64>,
    pub(crate) vocab_size: usize,
    /// Tokens of a prompt and its answer together.
    pub(crate) capacity: usize,
}

/// Tokenizer functions.
#[derive(Clone)]
pub(crate) struct TextFunctions(pub(crate) Arc<dyn SourceText>);

impl std::fmt::Debug for TextFunctions {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("TextFunctions")
    }
}

/// State shared by all request handlers.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) sources: Vec<Arc<RunningSource>>,
    pub(crate) config: ServeConfig,
    pub(crate) preparer: Arc<Preparer>,
}

/// A queued request, as its handler sees it.
#[derive(Debug)]
pub(crate) struct Submitted {
    pub(crate) answer: AnswerReceiver,
    pub(crate) prompt: Vec<i64>,
}

impl App {
    /// Finds a source by name; the first when none is named.
    pub(crate) fn source(&self, name: Option<&str>) -> Result<Arc<RunningSource>, ApiError> {
        let found = match name {
            None => self.sources.first(),
            Some(name) => self.sources.iter().find(|source| source.name == name),
        };
        found.cloned().ok_or_else(|| {
            let names: Vec<String> = self.sources.iter().map(|source| format!("`{}`", source.name)).collect();
            let shown: String = name.unwrap_or_default().chars().take(200).collect();
            ApiError::no_model(format!("the model `{shown}` does not exist; there is {}", names.join(", ")))
        })
    }

    /// Checks a request's settings and its prompt against the limits, and queues it.
    pub(crate) async fn submit(
        &self,
        source: &Arc<RunningSource>,
        client: &Client,
        prompt: Prompt,
        mut config: GenerateConfig,
        max_tokens: Option<usize>,
    ) -> Result<Submitted, ApiError> {
        let limits = &self.config.limits;
        if let Some(tokens) = max_tokens.filter(|&tokens| tokens > limits.new_tokens) {
            let message = format!("max_tokens is {tokens}; this server writes at most {}", limits.new_tokens);
            return Err(ApiError::too_large("max_tokens_too_large", message));
        }
        if config.sampling.num_beams > limits.rows {
            let (beams, rows) = (config.sampling.num_beams, limits.rows);
            let message = format!("num_beams is {beams}; this server follows at most {rows}");
            return Err(ApiError::invalid("num_beams", message));
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
        let request = SubmitRequest { prompt: ids.clone(), config };
        let answer = source.queue.submit(client.clone(), request)?;
        Ok(Submitted { answer, prompt: ids })
    }

    /// Returns the most tokens that a prompt may have.
    pub(crate) fn longest_prompt(&self, source: &RunningSource) -> usize {
        self.config.limits.prompt_tokens.min(source.capacity.saturating_sub(1))
    }
}

/// Returns the seconds since 1970.
pub(crate) fn unix_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Returns a number that no other request has, for ids and for seeds nobody chose.
pub(crate) fn unique_number() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
