//! Errors in the form of OpenAI's API.

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::answer::Failure;
use crate::request_queue::Refusal;

/// Error response to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<&'static str>,
    message: String,
    retry_after_s: Option<u64>,
}

impl ApiError {
    fn new(
        status: StatusCode,
        kind: &'static str,
        code: Option<&'static str>,
        message: impl Into<String>,
    ) -> Self {
        Self { status, kind, code, param: None, message: message.into(), retry_after_s: None }
    }

    /// Reports an invalid value.
    pub(crate) fn invalid(param: &'static str, message: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", None, message);
        Self { param: Some(param), ..error }
    }

    /// Reports a field that would change the answer and is not implemented.
    pub(crate) fn unsupported(param: &'static str, message: impl Into<String>) -> Self {
        Self { code: Some("unsupported_parameter"), ..Self::invalid(param, message) }
    }

    /// Reports a malformed body.
    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", None, message)
    }

    pub(crate) fn unsupported_media_type() -> Self {
        let message = "the request has no `Content-Type: application/json`";
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request_error", None, message)
    }

    pub(crate) fn too_large(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request_error", Some(code), message)
    }

    pub(crate) fn timed_out(message: impl Into<String>) -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "invalid_request_error", None, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "invalid_request_error", None, message)
    }

    pub(crate) fn no_model(message: impl Into<String>) -> Self {
        let error =
            Self::new(StatusCode::NOT_FOUND, "invalid_request_error", Some("model_not_found"), message);
        Self { param: Some("model"), ..error }
    }

    /// Reports that the models are not there yet.
    pub(crate) fn loading(text: &str) -> Self {
        let message = format!("the model is still being loaded ({text}); try again in a moment");
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", Some("loading"), message);
        Self { retry_after_s: Some(1), ..error }
    }

    pub(crate) fn method_not_allowed() -> Self {
        let message = "this path does not answer to this method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request_error", None, message)
    }

    pub(crate) fn wrong_key() -> Self {
        let message = "the key is missing or wrong; send it as `Authorization: Bearer KEY`";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_request_error", Some("invalid_api_key"), message)
    }

    pub(crate) fn wrong_host(host: &str) -> Self {
        let message = format!(
            "host `{host}` is not this server; it answers to localhost only unless it has a key or a wider address"
        );
        Self::new(StatusCode::FORBIDDEN, "invalid_request_error", None, message)
    }

    /// Returns the JSON of the response.
    pub(crate) fn body(&self) -> Value {
        json!({ "error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.code,
        }})
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Full { retry_after_s } => {
                let message = format!("too many requests are waiting; try again in {retry_after_s} s");
                let error = Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limit_error",
                    Some("rate_limit_exceeded"),
                    message,
                );
                Self { retry_after_s: Some(retry_after_s), ..error }
            }
            Refusal::Stopping => Failure::Stopping.into(),
        }
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::QueuedTooLong(limit) => {
                let seconds = limit.as_secs();
                let message = format!("the request has waited {seconds} s for its turn; try again later");
                let error = Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limit_error",
                    Some("rate_limit_exceeded"),
                    message,
                );
                Self { retry_after_s: Some(seconds.clamp(1, 60)), ..error }
            }
            Failure::Displaced => {
                let message =
                    "too many of this client's requests are waiting, and others have none; try again later";
                let code = Some("rate_limit_exceeded");
                let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_error", code, message);
                Self { retry_after_s: Some(1), ..error }
            }
            Failure::Model(reason) => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "server_error",
                None,
                format!("the answer failed: {reason}"),
            ),
            Failure::Stopping => {
                let message = "the server is being stopped";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "server_error", None, message)
            }
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
        if let Some(seconds) = self.retry_after_s {
            headers.push((header::RETRY_AFTER, seconds.into()));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.push((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
        }
        let mut response = (self.status, Json(self.body())).into_response();
        response.headers_mut().extend(headers);
        response
    }
}
