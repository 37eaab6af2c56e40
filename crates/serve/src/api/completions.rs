//! `POST /v1/completions`: continues texts.

use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use infer::GenerateConfig;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::JsonBody;
use super::error::ApiError;
use super::logprobs::{self, TokenTexts};
use super::prompt::Prompt;
use super::sampling::{MAX_ANSWERS, SamplingFields};
use super::state::{App, RunningSource, unique_number, unix_s};
use super::stream::{EventStream, stream};
use crate::answer::{Failure, Outcome, Piece};
use crate::listener::Peer;

/// Default of OpenAI's API.
const MAX_TOKENS: usize = 16;

#[derive(Debug, Deserialize)]
pub(crate) struct CompletionRequest {
    model: Option<String>,
    prompt: PromptField,
    max_tokens: Option<usize>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    user: Option<String>,
    echo: Option<bool>,
    logprobs: Option<u64>,
    suffix: Option<String>,
    best_of: Option<u64>,
    #[serde(flatten)]
    sampling: SamplingFields,
}

/// Options of a stream.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct StreamOptions {
    pub(crate) include_usage: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "`prompt` is a string, a list of strings, a list of tokens or a list of those")]
enum PromptField {
    Text(String),
    Texts(Vec<String>),
    Ids(Vec<i64>),
    IdLists(Vec<Vec<i64>>),
}

impl CompletionRequest {
    fn refuse_unsupported(&self) -> Result<(), ApiError> {
        let unsupported = [
            ("suffix", self.suffix.as_ref().is_some_and(|suffix| !suffix.is_empty())),
            ("best_of", self.best_of.is_some_and(|count| count > 1 && Some(count) != self.sampling.n)),
        ];
        match unsupported.into_iter().find(|&(_, asked)| asked) {
            Some((name, _)) => Err(ApiError::unsupported(name, format!("{name} is not supported"))),
            None => Ok(()),
        }
    }
}

/// Counts the tokens of a request as OpenAI does.
pub(crate) fn usage(prompt_tokens: usize, completion_tokens: usize) -> Value {
    json!({
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    })
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    JsonBody(request): JsonBody<CompletionRequest>,
) -> Result<Response, ApiError> {
    request.refuse_unsupported()?;
    let source = app.source(request.model.as_deref())?;
    let text = |text| Prompt::Text { text, add_bos: true };
    let prompts: Vec<Prompt> = match request.prompt {
        PromptField::Text(prompt) => vec![text(prompt)],
        PromptField::Texts(prompts) => prompts.into_iter().map(text).collect(),
        PromptField::Ids(ids) => vec![Prompt::Ids(ids)],
        PromptField::IdLists(lists) => lists.into_iter().map(Prompt::Ids).collect(),
    };
    let n = request.sampling.answers()?;
    if prompts.is_empty() || prompts.len().saturating_mul(n) > MAX_ANSWERS {
        let message = format!("{} prompts with n {n}; expected 1 to {MAX_ANSWERS} answers", prompts.len());
        return Err(ApiError::invalid("prompt", message));
    }
    let mut config = request.sampling.resolve(1.0)?;
    let echo = request.echo == Some(true);
    config.continues_prompt = true;
    config.logprobs = request.logprobs.map(|count| logprobs::top("logprobs", count)).transpose()?;
    config.prompt_logprobs = echo && config.logprobs.is_some();
    let client = peer.client(request.user.as_deref());
    let max_tokens = Some(request.max_tokens.unwrap_or(MAX_TOKENS));
    let (mut answers, mut choices, mut prompt_tokens) = (Vec::new(), Vec::new(), 0);
    for prompt in prompts {
        let text = if let Prompt::Text { text, .. } = &prompt { Some(text.clone()) } else { None };
        let numbers = choices.len()..choices.len() + n;
        let submitted =
            app.submit(&source, &client, prompt, config.clone(), max_tokens, numbers.clone()).await?;
        for number in numbers {
            choices.push(Choice::new(&source, number, &submitted.prompt, text.clone(), echo, &config)?);
        }
        answers.extend(submitted.answers);
        prompt_tokens += submitted.prompt.len();
    }
    let id = format!("cmpl-{:016x}", unique_number());
    let envelope = Envelope { id, created: unix_s(), model: source.name.clone() };
    if request.stream == Some(true) {
        let include_usage = request.stream_options.unwrap_or_default().include_usage == Some(true);
        let events =
            CompletionEvents { envelope, choices, include_usage, prompt_tokens, completion_tokens: 0 };
        return Ok(stream(events, answers, &peer));
    }
    let (mut values, mut completion_tokens) = (Vec::new(), 0);
    for (answer, choice) in answers.into_iter().zip(&mut choices) {
        let (piece, outcome) = answer.all().await?;
        completion_tokens += outcome.completion_tokens;
        values.push(choice.value(&piece, Some(&outcome)));
    }
    let mut body = envelope.with(&Value::Array(values));
    body["usage"] = usage(prompt_tokens, completion_tokens);
    Ok(Json(body).into_response())
}

/// One answer of a request.
struct Choice {
    source: Arc<RunningSource>,
    index: usize,
    /// The prompt's text, until it has been echoed.
    echo: String,
    /// Names of the tokens, where log-probabilities are asked for.
    texts: Option<TokenTexts>,
}

impl Choice {
    fn new(
        source: &Arc<RunningSource>,
        index: usize,
        prompt: &[i64],
        text: Option<String>,
        echo: bool,
        config: &GenerateConfig,
    ) -> Result<Self, ApiError> {
        let cannot = |error| ApiError::malformed(format!("the prompt has no text: {error}"));
        let text = match text {
            Some(text) => text,
            None => source.text.0.decode(prompt).map_err(cannot)?,
        };
        let texts = config.logprobs.map(|_| {
            if config.prompt_logprobs {
                TokenTexts::new(None, 0)
            } else {
                TokenTexts::new(prompt.last().copied(), text.chars().count())
            }
        });
        let echo = if echo { text } else { String::new() };
        Ok(Self { source: source.clone(), index, echo, texts })
    }

    /// Writes a part of the answer, after the echo if that is due.
    fn value(&mut self, piece: &Piece, outcome: Option<&Outcome>) -> Value {
        let text = std::mem::take(&mut self.echo) + &piece.text;
        let source = &self.source.text.0;
        let logprobs =
            self.texts.as_mut().and_then(|texts| texts.completion(&**source, &piece.logprobs).ok());
        let finish_reason = outcome.map(|outcome| outcome.finish.reason());
        json!({ "index": self.index, "text": text, "logprobs": logprobs, "finish_reason": finish_reason })
    }
}

struct Envelope {
    id: String,
    created: u64,
    model: String,
}

impl Envelope {
    fn with(&self, choices: &Value) -> Value {
        json!({
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        })
    }
}

struct CompletionEvents {
    envelope: Envelope,
    choices: Vec<Choice>,
    include_usage: bool,
    prompt_tokens: usize,
    completion_tokens: usize,
}

impl EventStream for CompletionEvents {
    fn piece(&mut self, index: usize, piece: &Piece) -> String {
        let value = self.choices[index].value(piece, None);
        self.envelope.with(&json!([value])).to_string()
    }

    fn end(&mut self, index: usize, outcome: &Outcome) -> Vec<String> {
        self.completion_tokens += outcome.completion_tokens;
        let value = self.choices[index].value(&Piece::default(), Some(outcome));
        vec![self.envelope.with(&json!([value])).to_string()]
    }

    fn failure(&mut self, failure: Failure) -> Vec<String> {
        vec![ApiError::from(failure).body().to_string()]
    }

    fn close(&mut self) -> Vec<String> {
        let mut closing = Vec::new();
        if self.include_usage {
            let mut body = self.envelope.with(&json!([]));
            body["usage"] = usage(self.prompt_tokens, self.completion_tokens);
            closing.push(body.to_string());
        }
        closing.push("[DONE]".to_owned());
        closing
    }
}
