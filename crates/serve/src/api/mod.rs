//! Routes of the server.

mod body;
mod chat;
mod completions;
mod error;
mod guard;
mod logprobs;
mod models;
mod page;
mod prompt;
mod sampling;
mod state;
mod stream;
mod submit;
mod tokenize;

use std::sync::Arc;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};

pub(crate) use state::{App, RunningSource, TextFunctions};

use error::ApiError;

/// Builds all routes. The page itself and `/health` are open; the others ask for the key, where there is one.
pub(crate) fn router(app: Arc<App>) -> Router {
    let keyed = Router::new()
        .route("/v1/models", get(models::list))
        .route("/v1/models/{*name}", get(models::one))
        .route("/v1/completions", post(completions::create))
        .route("/v1/chat/completions", post(chat::create))
        .route("/tokenize", post(tokenize::tokenize))
        .route("/detokenize", post(tokenize::detokenize))
        .route("/api/info", get(page::info))
        .route("/api/generate", post(page::generate))
        .route("/metrics", get(models::metrics))
        .layer(from_fn_with_state(app.clone(), guard::key));
    let open = Router::new().route("/", get(page::html)).route("/health", get(models::health));
    keyed
        .merge(open)
        .fallback(|| async {
            ApiError::not_found("there is nothing at this path; `/` is the page, `/v1` the API")
        })
        .method_not_allowed_fallback(|| async { ApiError::method_not_allowed() })
        .layer(from_fn_with_state(app.clone(), guard::host))
        .layer(from_fn(guard::refused))
        .layer(from_fn(guard::busy))
        .with_state(app)
}
