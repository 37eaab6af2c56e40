//! `POST /tokenize`, `POST /detokenize`: texts as token ids and back, for clients of llama.cpp's server (`content`) and of
//! `vLLM`'s (`prompt`, `messages`).

use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::JsonBody;
use super::chat::{MessageField, message};
use super::error::ApiError;
use super::prompt::Prompt;
use super::state::App;
use crate::listener::Peer;

#[derive(Debug, Deserialize)]
pub(crate) struct TokenizeRequest {
    model: Option<String>,
    user: Option<String>,
    // llama.cpp.
    content: Option<String>,
    add_special: Option<bool>,
    parse_special: Option<bool>,
    with_pieces: Option<bool>,
    // vLLM.
    prompt: Option<String>,
    messages: Option<Vec<MessageField>>,
    add_special_tokens: Option<bool>,
    add_generation_prompt: Option<bool>,
    return_token_strs: Option<bool>,
}

pub(crate) async fn tokenize(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    JsonBody(request): JsonBody<TokenizeRequest>,
) -> Result<Json<Value>, ApiError> {
    if request.parse_special == Some(false) {
        let message = "parse_special is false; this tokenizer always reads special tokens in a text";
        return Err(ApiError::unsupported("parse_special", message));
    }
    let source = app.source(request.model.as_deref())?;
    let add = request.add_special_tokens.or(request.add_special);
    let prompt = match (request.content, request.prompt, request.messages) {
        (Some(text), None, None) => Prompt::Text { text, add_bos: add.unwrap_or(false) },
        (None, Some(text), None) => Prompt::Text { text, add_bos: add.unwrap_or(true) },
        (None, None, Some(messages)) => Prompt::Chat {
            messages: messages.into_iter().map(message).collect::<Result<_, _>>()?,
            add_generation_prompt: request.add_generation_prompt.unwrap_or(true),
        },
        _ => return Err(ApiError::malformed("expected one of `content`, `prompt` and `messages`")),
    };
    let ids = app.ids(&source, &peer.client(request.user.as_deref()), prompt).await?;
    let text = &source.text.0;
    let pieces = |wanted: Option<bool>| -> Result<Option<Vec<String>>, ApiError> {
        let piece =
            |&id: &i64| text.decode_all(&[id]).map_err(|error| ApiError::malformed(error.to_string()));
        if wanted == Some(true) {
            ids.iter().map(piece).collect::<Result<_, _>>().map(Some)
        } else {
            Ok(None)
        }
    };
    let token_strs = pieces(request.return_token_strs)?;
    let tokens = match pieces(request.with_pieces)? {
        Some(pieces) => {
            ids.iter().zip(pieces).map(|(id, piece)| json!({ "id": id, "piece": piece })).collect()
        }
        None => ids.iter().map(|&id| Value::from(id)).collect::<Vec<_>>(),
    };
    Ok(Json(json!({
        "tokens": tokens,
        "count": ids.len(),
        "max_model_len": source.capacity,
        "token_strs": token_strs,
    })))
}

#[derive(Debug, Deserialize)]
pub(crate) struct DetokenizeRequest {
    model: Option<String>,
    tokens: Vec<i64>,
}

pub(crate) async fn detokenize(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    JsonBody(request): JsonBody<DetokenizeRequest>,
) -> Result<Json<Value>, ApiError> {
    let source = app.source(request.model.as_deref())?;
    source.check_ids(&request.tokens)?;
    let decoded = app
        .preparer
        .run(&peer.client(None), request.tokens.len(), move || source.text.0.decode_all(&request.tokens))
        .await?;
    let cannot = |reason: String| ApiError::malformed(format!("the tokens have no text: {reason}"));
    let text = decoded.ok_or_else(|| cannot("the tokenizer panicked".to_owned()))?;
    let text = text.map_err(|error| cannot(error.to_string()))?;
    Ok(Json(json!({ "content": text, "prompt": text })))
}
