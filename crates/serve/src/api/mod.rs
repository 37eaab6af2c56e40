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
use axum::routing::{get, post};

pub(crate) use body::is_json;
pub(crate) use error::ApiError;
pub(crate) use guard::{Access, guarded};
pub(crate) use page::html_page;
pub(crate) use state::{App, RunningSource, TextFunctions};

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
        .route("/metrics", get(models::metrics));
    let open = Router::new().route("/", get(page::html)).route("/health", get(models::health));
    let access = Access { address: app.config.address, api_key: app.config.api_key.clone() };
    let nothing_here = "there is nothing at this path; `/` is the page, `/v1` the API";
    guarded(keyed, open, Arc::new(access), nothing_here).with_state(app)
}
