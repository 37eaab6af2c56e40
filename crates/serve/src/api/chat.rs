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
use super::sampling::SamplingFields;
use super::state::{App, Prompt, unique_number, unix_s};
use super::stream::{EventStream, stream};
use crate::answer::{Failure, Outcome};
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
    tools: Option<Vec<Value>>,
    functions: Option<Vec<Value>>,
    response_format: Option<Value>,
    #[serde(flatten)]
    sampling: SamplingFields,
}

#[derive(Debug, Deserialize)]
struct MessageField {
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
            ("logprobs", self.logprobs == Some(true)),
            ("response_format", self.response_format.as_ref().is_some_and(other_format)),
        ];
        match unsupported.into_iter().find(|&(_, asked)| asked) {
            Some((name, _)) => Err(ApiError::unsupported(name, format!("{name} is not supported"))),
            None => Ok(()),
        }
    }
}

fn message(field: MessageField) -> Result<Message, ApiError> {
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
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    JsonBody(request): JsonBody<ChatRequest>,
) -> Result<Response, ApiError> {
    request.refuse_unsupported()?;
    let source = app.source(request.model.as_deref())?;
    if request.messages.is_empty() {
        return Err(ApiError::invalid("messages", "messages is empty; expected at least one"));
    }
    let messages = request.messages.into_iter().map(message).collect::<Result<Vec<_>, _>>()?;
    let (text, add_bos) =
        source.templates.next_turn(&messages).map_err(|reason| ApiError::invalid("messages", reason))?;
    let prompt = Prompt::Text { text, add_bos };
    let config = request.sampling.resolve(1.0)?;
    let max_tokens = request.max_completion_tokens.or(request.max_tokens);
    let user = request.user.unwrap_or_default();
    let (answer, prompt_tokens) = app.submit(&source, peer, &user, prompt, config, max_tokens).await?;
    let id = format!("chatcmpl-{:016x}", unique_number());
    let (created, model) = (unix_s(), source.name.clone());
    if request.stream == Some(true) {
        let include_usage = request.stream_options.unwrap_or_default().include_usage == Some(true);
        let events = ChatEvents { id, created, model, include_usage, prompt_tokens, completion_tokens: 0 };
        return Ok(stream(events, vec![answer]));
    }
    let (text, outcome) = answer.all().await?;
    let body = json!({
        "id": id,
        "object": "chat.completion",
        "created": created,
        "model": model,
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": text, "refusal": null },
            "logprobs": null,
            "finish_reason": outcome.finish.reason(),
        }],
        "usage": usage(prompt_tokens, outcome.completion_tokens),
    });
    Ok(Json(body).into_response())
}

struct ChatEvents {
    id: String,
    created: u64,
    model: String,
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

    fn delta(&self, delta: &Value, outcome: Option<&Outcome>) -> String {
        let finish_reason = outcome.map(|outcome| outcome.finish.reason());
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
        self.chunk(&json!([choice])).to_string()
    }
}

impl EventStream for ChatEvents {
    fn begin(&mut self) -> Vec<String> {
        vec![self.delta(&json!({ "role": "assistant", "content": "" }), None)]
    }

    fn text(&mut self, _: usize, text: &str, _: usize) -> String {
        self.delta(&json!({ "content": text }), None)
    }

    fn end(&mut self, _: usize, outcome: &Outcome) -> Vec<String> {
        self.completion_tokens = outcome.completion_tokens;
        vec![self.delta(&json!({}), Some(outcome))]
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
