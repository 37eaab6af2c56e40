//! Web page, and the requests it makes.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::JsonBody;
use super::error::ApiError;
use super::prompt::Prompt;
use super::sampling::SamplingFields;
use super::state::App;
use super::stream::{EventStream, stream};
use crate::answer::{Failure, Outcome, Piece};
use crate::listener::Peer;

/// Content policy: nothing but what is in the page itself may run or be loaded.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Answers `GET /`: the page.
pub(crate) async fn html() -> Response {
    html_page(include_str!("../page.html"))
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

/// Answers `GET /api/info`: sources, limits and initial values of the page's controls.
pub(crate) async fn info(State(app): State<Arc<App>>) -> Json<Value> {
    let sources: Vec<Value> = app
        .sources
        .iter()
        .map(|source| {
            json!({ "name": source.name, "description": source.description, "context": source.capacity })
        })
        .collect();
    let limits = &app.config.limits;
    Json(json!({
        "sources": sources,
        "defaults": app.config.page,
        "limits": { "new_tokens": limits.new_tokens, "prompt_tokens": limits.prompt_tokens, "num_beams": limits.rows },
    }))
}

#[derive(Debug, Deserialize)]
pub(crate) struct PageRequest {
    source: Option<String>,
    instruction: String,
    input: Option<String>,
    max_new_tokens: Option<usize>,
    stream: Option<bool>,
    #[serde(flatten)]
    sampling: SamplingFields,
}

/// Answers `POST /api/generate`: an instruction's answer as events: `begin`, `text` (one, or many), `end`, or `error`.
pub(crate) async fn generate(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    JsonBody(request): JsonBody<PageRequest>,
) -> Result<Response, ApiError> {
    let source = app.source(request.source.as_deref())?;
    if request.instruction.trim().is_empty() {
        return Err(ApiError::invalid("instruction", "the instruction is empty"));
    }
    let text = source.templates.prompt.prompt(&request.instruction, request.input.as_deref());
    let defaults = &app.config.page;
    let config = request.sampling.resolve(defaults.temperature)?;
    let max_new_tokens = request.max_new_tokens.unwrap_or(defaults.max_new_tokens);
    let prompt = Prompt::Text { text, add_bos: true };
    let submitted =
        app.submit(&source, &peer.client(None), prompt, config, Some(max_new_tokens), 0..1).await?;
    let stream_text = request.stream.unwrap_or(defaults.stream);
    let events = PageEvents { prompt_tokens: submitted.prompt.len(), stream_text, text: String::new() };
    Ok(stream(events, submitted.answers, &peer))
}

struct PageEvents {
    prompt_tokens: usize,
    /// Send text as it comes, not all at the end.
    stream_text: bool,
    text: String,
}

impl EventStream for PageEvents {
    fn begin(&mut self) -> Vec<String> {
        vec![json!({ "type": "begin", "prompt_tokens": self.prompt_tokens }).to_string()]
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
