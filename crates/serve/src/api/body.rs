//! JSON bodies of requests.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use futures_util::StreamExt;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;
use super::state::App;
use crate::Limits;

/// Checks that a request says its body to be JSON.
pub(crate) fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = content_type.and_then(|value| value.split(';').next()).unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

/// Body of a request, read as JSON. The content type has to be JSON's: a page of another site can post plain text
/// anywhere without asking, but not JSON.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for JsonBody<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        if !is_json(request.headers()) {
            return Err(ApiError::unsupported_media_type());
        }
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let limit = app.config.limits.body_bytes;
        if length.and_then(|length| length.parse::<u64>().ok()).is_some_and(|length| length > limit as u64) {
            return Err(too_large(limit));
        }
        let bytes = read(request.into_body(), &app.config.limits).await?;
        let value = serde_json::from_slice(&bytes).map_err(|error| {
            ApiError::malformed(format!("the body cannot be read as this request: {error}"))
        })?;
        Ok(Self(value))
    }
}

/// Reads a body that comes at the least rate, and without a long pause.
async fn read(body: Body, limits: &Limits) -> Result<Bytes, ApiError> {
    let limit = limits.body_bytes;
    let mut stream = body.into_data_stream();
    let mut bytes = Vec::new();
    let begun = Instant::now() + limits.idle_time;
    loop {
        let in_time =
            begun + Duration::from_secs_f64(bytes.len() as f64 / limits.body_bytes_per_s.max(1) as f64);
        let deadline = in_time.min(Instant::now() + limits.idle_time);
        let chunk = timeout_at(deadline, stream.next()).await;
        let chunk = chunk.map_err(|_| ApiError::timed_out("the request's body did not arrive in time"))?;
        let Some(chunk) = chunk else { break };
        let chunk = chunk.map_err(|_| ApiError::malformed("the request ended before its body did"))?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.into())
}

fn too_large(limit: usize) -> ApiError {
    ApiError::too_large("body_too_large", format!("the body is larger than {limit} bytes"))
}
