//! Web page, and the requests it makes.

use std::sync::{Arc, LazyLock};

use alpaca_data::{PromptTemplate, Templates};
use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::JsonBody;
use super::chat::{MessageField, message};
use super::error::ApiError;
use super::prompt::Prompt;
use super::sampling::SamplingFields;
use super::state::{App, RunningSource};
use super::stream::{EventStream, stream};
use crate::answer::{Failure, Outcome, Piece};
use crate::house_style::HOUSE_STYLE;
use crate::listener::Peer;

/// Content policy: nothing but what is in the page itself may run or be loaded.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers `GET /`: the page.
pub(crate) async fn html() -> Response {
    static PAGE: LazyLock<String> =
        LazyLock::new(|| include_str!("../page.html").replacen("/*STYLE*/", HOUSE_STYLE, 1));
    html_page(PAGE.as_str())
}

/// Answers with a page that loads nothing.
pub(crate) fn html_page(page: impl Into<Body>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, page.into()).into_response()
}

/// Answers `GET /api/info`: sources, limits, templates and initial values of the page's controls; or how far loading is.
pub(crate) async fn info(State(app): State<Arc<App>>) -> Json<Value> {
    let source = |source: &Arc<RunningSource>| {
        json!({
            "name": source.name, "description": source.description, "context": source.capacity,
            "chat": source.templates.chat.is_some(), "adapter_off": source.adapter_off,
        })
    };
    let sources: Vec<Value> = app.sources().iter().map(source).collect();
    let limits = &app.config.limits;
    Json(json!({
        "loading": app.loading(),
        "sources": sources,
        "defaults": app.config.page,
        "templates": PromptTemplate::built_in(),
        "limits": { "new_tokens": limits.new_tokens, "prompt_tokens": limits.prompt_tokens, "num_beams": app.rows() },
    }))
}

#[derive(Debug, Deserialize)]
pub(crate) struct PageRequest {
    source: Option<String>,
    #[serde(default)]
    instruction: String,
    input: Option<String>,
    /// Name of a template that comes with the program, or `none`; the source's own without one. No file is ever read.
    template: Option<String>,
    /// A conversation, instead of an instruction.
    messages: Option<Vec<MessageField>>,
    max_new_tokens: Option<usize>,
    stream: Option<bool>,
    #[serde(flatten)]
    sampling: SamplingFields,
}

impl PageRequest {
    /// Returns the prompt that is meant.
    fn prompt(&mut self, templates: &Templates) -> Result<Prompt, ApiError> {
        if let Some(messages) = self.messages.take() {
            if messages.is_empty() {
                return Err(ApiError::invalid("messages", "messages is empty; expected at least one"));
            }
            let messages = messages.into_iter().map(message).collect::<Result<_, _>>()?;
            return Ok(Prompt::Chat { messages, add_generation_prompt: true });
        }
        if self.instruction.trim().is_empty() {
            return Err(ApiError::invalid("instruction", "the instruction is empty"));
        }
        let (instruction, input) = (&*self.instruction, self.input.as_deref());
        let text = match self.template.as_deref() {
            None => templates.prompt.prompt(instruction, input),
            Some("none") => match input.filter(|input| !input.is_empty()) {
                Some(input) => format!("{instruction}\n{input}"),
                None => instruction.to_owned(),
            },
            Some(name) => {
                let known = PromptTemplate::built_in().into_iter().find(|known| *known == name);
                let template = known.and_then(|name| PromptTemplate::load(name).ok()).ok_or_else(|| {
                    let known = PromptTemplate::built_in().join(", ");
                    ApiError::invalid(
                        "template",
                        format!("the template is not known; expected {known} or none"),
                    )
                })?;
                template.prompt(instruction, input)
            }
        };
        Ok(Prompt::Text { text, add_bos: true })
    }
}

/// Answers `POST /api/generate`: the answer to an instruction or a conversation as events: `begin`, with what was sent to the model,
/// `text` (one, or many), `end`, or `error`.
pub(crate) async fn generate(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    JsonBody(mut request): JsonBody<PageRequest>,
) -> Result<Response, ApiError> {
    let source = app.source(request.source.as_deref())?;
    let prompt = request.prompt(&source.templates)?;
    let defaults = &app.config.page;
    let mut config = request.sampling.resolve(defaults.temperature)?;
    config.continues_prompt = request.template.as_deref() == Some("none");
    let max_new_tokens = request.max_new_tokens.unwrap_or(defaults.max_new_tokens);
    let submitted =
        app.submit(&source, &peer.client(None), prompt, config, Some(max_new_tokens), 0..1).await?;
    let stream_text = request.stream.unwrap_or(defaults.stream);
    let sent = source.text.0.decode_all(&submitted.prompt).unwrap_or_default();
    let events = PageEvents { prompt_tokens: submitted.prompt.len(), sent, stream_text, text: String::new() };
    Ok(stream(events, submitted.answers, &peer))
}

struct PageEvents {
    prompt_tokens: usize,
    /// Prompt as the model reads it, special tokens spelled.
    sent: String,
    /// Send text as it comes, not all at the end.
    stream_text: bool,
    text: String,
}

impl EventStream for PageEvents {
    fn begin(&mut self) -> Vec<String> {
        vec![json!({ "type": "begin", "prompt_tokens": self.prompt_tokens, "prompt": self.sent }).to_string()]
    }

    fn piece(&mut self, _: usize, Piece { text, tokens, .. }: &Piece) -> String {
        if self.stream_text {
            return json!({ "type": "text", "text": text, "tokens": tokens }).to_string();
        }
        self.text.push_str(text);
        json!({ "type": "work", "tokens": tokens }).to_string()
    }

    fn end(&mut self, _: usize, outcome: &Outcome) -> Vec<String> {
        let seconds = outcome.answering.as_secs_f64();
        let end = json!({
            "type": "end",
            "finish": outcome.finish.name(),
            "tokens": outcome.completion_tokens,
            "seconds": seconds,
            "queued_s": outcome.queued.as_secs_f64(),
            "first_token_s": outcome.first_token.as_secs_f64(),
            "tokens_per_s": outcome.completion_tokens as f64 / seconds.max(1e-9),
        });
        let text = (!self.stream_text).then(|| json!({ "type": "text", "text": self.text }).to_string());
        text.into_iter().chain([end.to_string()]).collect()
    }

    fn failure(&mut self, failure: Failure) -> Vec<String> {
        let body = ApiError::from(failure).body();
        vec![json!({ "type": "error", "message": body["error"]["message"] }).to_string()]
    }
}
