//! `POST /v1/chat/completions`: continues a conversation.

use std::sync::Arc;

use alpaca_data::Message;
use axum::Json;
use axum::extract::{ConnectInfo, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::JsonBody;
use super::completions::{StreamOptions, usage};
use super::error::ApiError;
use super::logprobs::{self, TokenTexts};
use super::prompt::Prompt;
use super::sampling::SamplingFields;
use super::state::{App, RunningSource, unique_number, unix_s};
use super::stream::{EventStream, stream};
use super::submit::Submitted;
use crate::answer::{Failure, Outcome, Piece};
use crate::listener::Peer;

#[derive(Debug, Deserialize)]
pub(crate) struct ChatRequest {
    model: Option<String>,
    messages: Vec<MessageField>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    user: Option<String>,
    logprobs: Option<bool>,
    top_logprobs: Option<u64>,
    tools: Option<Vec<Value>>,
    functions: Option<Vec<Value>>,
    response_format: Option<Value>,
    #[serde(flatten)]
    sampling: SamplingFields,
}

#[derive(Debug, Deserialize)]
pub(crate) struct MessageField {
    role: String,
    content: Option<Content>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "`content` is a string or a list of parts")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    r#type: String,
    text: Option<String>,
}

impl ChatRequest {
    fn refuse_unsupported(&self) -> Result<(), ApiError> {
        let listed = |list: &Option<Vec<Value>>| list.as_ref().is_some_and(|list| !list.is_empty());
        let other_format = |format: &Value| !format.is_null() && format["type"] != "text";
        let unsupported = [
            ("tools", listed(&self.tools)),
            ("functions", listed(&self.functions)),
            ("response_format", self.response_format.as_ref().is_some_and(other_format)),
        ];
        match unsupported.into_iter().find(|&(_, asked)| asked) {
            Some((name, _)) => Err(ApiError::unsupported(name, format!("{name} is not supported"))),
            None => Ok(()),
        }
    }
}

pub(crate) fn message(field: MessageField) -> Result<Message, ApiError> {
    let content = match field.content {
        None => String::new(),
        Some(Content::Text(text)) => text,
        Some(Content::Parts(parts)) => {
            if let Some(part) = parts.iter().find(|part| part.r#type != "text") {
                let message = format!("content of type `{}` is not supported; expected `text`", part.r#type);
                return Err(ApiError::unsupported("messages", message));
            }
            parts.into_iter().filter_map(|part| part.text).collect()
        }
    };
    Ok(Message { role: field.role, content })
}

pub(crate) async fn create(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    JsonBody(request): JsonBody<ChatRequest>,
) -> Result<Response, ApiError> {
    request.refuse_unsupported()?;
    let source = app.source(request.model.as_deref())?;
    if request.messages.is_empty() {
        return Err(ApiError::invalid("messages", "messages is empty; expected at least one"));
    }
    let messages = request.messages.into_iter().map(message).collect::<Result<Vec<_>, _>>()?;
    let n = request.sampling.answers()?;
    let mut config = request.sampling.resolve(1.0)?;
    config.logprobs = match (request.logprobs, request.top_logprobs) {
        (Some(true), top) => Some(logprobs::top("top_logprobs", top.unwrap_or(0))?),
        (_, Some(top)) if top > 0 => {
            return Err(ApiError::invalid("top_logprobs", "top_logprobs needs `logprobs` to be true"));
        }
        _ => None,
    };
    let max_tokens = request.max_completion_tokens.or(request.max_tokens);
    let client = peer.client(request.user.as_deref());
    let prompt = Prompt::Chat { messages, add_generation_prompt: true };
    let wants_logprobs = config.logprobs.is_some();
    let Submitted { answers, prompt } =
        app.submit(&source, &client, prompt, config, max_tokens, 0..n).await?;
    let prompt_tokens = prompt.len();
    let choice = |index| {
        let texts = wants_logprobs.then(|| TokenTexts::new(prompt.last().copied(), 0));
        Choice { source: source.clone(), index, texts }
    };
    let mut choices: Vec<_> = (0..n).map(choice).collect();
    let id = format!("chatcmpl-{:016x}", unique_number());
    let (created, model) = (unix_s(), source.name.clone());
    if request.stream == Some(true) {
        let include_usage = request.stream_options.unwrap_or_default().include_usage == Some(true);
        let events =
            ChatEvents { id, created, model, choices, include_usage, prompt_tokens, completion_tokens: 0 };
        return Ok(stream(events, answers, &peer));
    }
    let (mut values, mut completion_tokens) = (Vec::new(), 0);
    for (answer, choice) in answers.into_iter().zip(&mut choices) {
        let (piece, outcome) = answer.all().await?;
        completion_tokens += outcome.completion_tokens;
        values.push(json!({
            "index": choice.index,
            "message": { "role": "assistant", "content": piece.text, "refusal": null },
            "logprobs": choice.logprobs(&piece),
            "finish_reason": outcome.finish.reason(),
        }));
    }
    let body = json!({
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": values,
        "usage": usage(prompt_tokens, completion_tokens),
    });
    Ok(Json(body).into_response())
}

/// One answer of a request.
struct Choice {
    source: Arc<RunningSource>,
    index: usize,
    /// Names of the tokens, where log-probabilities are asked for.
    texts: Option<TokenTexts>,
}

impl Choice {
    fn logprobs(&mut self, piece: &Piece) -> Option<Value> {
        let source = &self.source.text.0;
        self.texts.as_mut().and_then(|texts| texts.chat(&**source, &piece.logprobs).ok())
    }
}

struct ChatEvents {
    id: String,
    created: u64,
    model: String,
    choices: Vec<Choice>,
    include_usage: bool,
    prompt_tokens: usize,
    completion_tokens: usize,
}

impl ChatEvents {
    fn chunk(&self, choices: &Value) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": choices,
        })
    }

    fn delta(
        &self,
        index: usize,
        delta: &Value,
        logprobs: Option<&Value>,
        outcome: Option<&Outcome>,
    ) -> String {
        let finish_reason = outcome.map(|outcome| outcome.finish.reason());
        let choice =
            json!({ "index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason });
        self.chunk(&json!([choice])).to_string()
    }
}

impl EventStream for ChatEvents {
    fn begin(&mut self) -> Vec<String> {
        let opening = json!({ "role": "assistant", "content": "" });
        (0..self.choices.len()).map(|index| self.delta(index, &opening, None, None)).collect()
    }

    fn piece(&mut self, index: usize, piece: &Piece) -> String {
        let logprobs = self.choices[index].logprobs(piece);
        self.delta(index, &json!({ "content": piece.text }), logprobs.as_ref(), None)
    }

    fn end(&mut self, index: usize, outcome: &Outcome) -> Vec<String> {
        self.completion_tokens += outcome.completion_tokens;
        vec![self.delta(index, &json!({}), None, Some(outcome))]
    }

    fn failure(&mut self, failure: Failure) -> Vec<String> {
        vec![ApiError::from(failure).body().to_string()]
    }

    fn close(&mut self) -> Vec<String> {
        let mut closing = Vec::new();
        if self.include_usage {
            let mut body = self.chunk(&json!([]));
            body["usage"] = usage(self.prompt_tokens, self.completion_tokens);
            closing.push(body.to_string());
        }
        closing.push("[DONE]".to_owned());
        closing
    }
}
