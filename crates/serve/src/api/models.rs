//! Lists of models, health and metrics.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::error::ApiError;
use super::state::{App, RunningSource};
use crate::metrics::render;

fn model(source: &RunningSource) -> Value {
    json!({ "id": source.name, "object": "model", "created": 0, "owned_by": "local" })
}

/// Answers `GET /v1/models`: every model.
pub(crate) async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    let data: Vec<Value> = app.sources().iter().map(|source| model(source)).collect();
    Json(json!({ "object": "list", "data": data }))
}

/// Answers `GET /v1/models/NAME`: one model.
pub(crate) async fn one(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, ApiError> {
    Ok(Json(model(&*app.source(Some(&name))?)))
}

/// Answers `GET /health`.
pub(crate) async fn health(State(app): State<Arc<App>>) -> Json<Value> {
    let sources: Vec<Value> = app
        .sources()
        .iter()
        .map(|source| {
            let metrics = &source.queue.metrics;
            json!({
                "name": source.name,
                "queue_depth": metrics.queue_depth.load(Ordering::Relaxed),
                "active_rows": metrics.active_rows.load(Ordering::Relaxed),
            })
        })
        .collect();
    let status = if app.loading().is_some() { "loading" } else { "ok" };
    Json(json!({ "status": status, "sources": sources }))
}

/// Answers `GET /metrics`.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let metrics: Vec<_> = app.sources().iter().map(|source| &source.queue.metrics).collect();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], render(&metrics))
}
