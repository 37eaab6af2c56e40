//! `POST /v1/completions`: continues texts.

use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::JsonBody;
use super::error::ApiError;
use super::sampling::SamplingFields;
use super::state::{App, Prompt, unique_number, unix_s};
use super::stream::{EventStream, stream};
use crate::answer::{Failure, Outcome};
use crate::listener::Peer;

/// Default of OpenAI's API.
const MAX_TOKENS: usize = 16;
/// Limit on the prompts of one request.
const MAX_PROMPTS: usize = 64;

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
            ("echo", self.echo == Some(true)),
            ("logprobs", self.logprobs.is_some_and(|count| count > 0)),
            ("suffix", self.suffix.as_ref().is_some_and(|suffix| !suffix.is_empty())),
            ("best_of", self.best_of.is_some_and(|count| count > 1)),
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
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
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
    if prompts.is_empty() || prompts.len() > MAX_PROMPTS {
        let message = format!("prompt has {} entries; expected 1 to {MAX_PROMPTS}", prompts.len());
        return Err(ApiError::invalid("prompt", message));
    }
    let config = request.sampling.resolve(1.0)?;
    let user = request.user.unwrap_or_default();
    let max_tokens = Some(request.max_tokens.unwrap_or(MAX_TOKENS));
    let (mut answers, mut prompt_tokens) = (Vec::new(), 0);
    for prompt in prompts {
        let (answer, count) = app.submit(&source, peer, &user, prompt, config.clone(), max_tokens).await?;
        answers.push(answer);
        prompt_tokens += count;
    }
    let id = format!("cmpl-{:016x}", unique_number());
    let envelope = Envelope { id, created: unix_s(), model: source.name.clone() };
    if request.stream == Some(true) {
        let include_usage = request.stream_options.unwrap_or_default().include_usage == Some(true);
        let events = CompletionEvents { envelope, include_usage, prompt_tokens, completion_tokens: 0 };
        return Ok(stream(events, answers));
    }
    let (mut choices, mut completion_tokens) = (Vec::new(), 0);
    for (index, answer) in answers.into_iter().enumerate() {
        let (text, outcome) = answer.all().await?;
        completion_tokens += outcome.completion_tokens;
        choices.push(choice(index, &text, Some(&outcome)));
    }
    let mut body = envelope.with(&Value::Array(choices));
    body["usage"] = usage(prompt_tokens, completion_tokens);
    Ok(Json(body).into_response())
}

fn choice(index: usize, text: &str, outcome: Option<&Outcome>) -> Value {
    let finish_reason = outcome.map(|outcome| outcome.finish.reason());
    json!({ "index": index, "text": text, "logprobs": null, "finish_reason": finish_reason })
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
    include_usage: bool,
    prompt_tokens: usize,
    completion_tokens: usize,
}

impl EventStream for CompletionEvents {
    fn text(&mut self, index: usize, text: &str, _: usize) -> String {
        self.envelope.with(&json!([choice(index, text, None)])).to_string()
    }

    fn end(&mut self, index: usize, outcome: &Outcome) -> Vec<String> {
        self.completion_tokens += outcome.completion_tokens;
        vec![self.envelope.with(&json!([choice(index, "", Some(outcome))])).to_string()]
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
