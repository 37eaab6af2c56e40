//! What a server may do.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

/// A server, fully decided.
#[derive(Debug, Clone, PartialEq)]
pub struct ServeConfig {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// What a client has to show as `Authorization: Bearer …`; nothing when absent.
    pub api_key: Option<String>,
    /// Bounds of requests.
    pub limits: Limits,
    /// What the page's controls show at first.
    pub page: PageDefaults,
}

/// Bounds. What is beyond them is refused with 413 or 429 and a reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Sequences of a source that are continued together; a beam counts as one.
    pub rows: usize,
    /// Requests of a source that may wait.
    pub queue_len: usize,
    /// Tokens of a prompt.
    pub prompt_tokens: usize,
    /// Tokens of an answer.
    pub new_tokens: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// How long a request may wait for its turn.
    pub queue_time: Duration,
    /// How long an answer may take after that; then it ends as if it had reached its length.
    pub answer_time: Duration,
    /// How long a client may take nothing of what is sent to it, or pause within its request.
    pub idle_time: Duration,
    /// Connections at once; more wait to be accepted.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rows: 32,
            queue_len: 256,
            prompt_tokens: 2048,
            new_tokens: 2048,
            body_bytes: 1 << 20,
            queue_time: Duration::from_secs(60),
            answer_time: Duration::from_secs(600),
            idle_time: Duration::from_secs(60),
            connections: 1024,
        }
    }
}

/// What the page's controls show at first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PageDefaults {
    /// Temperature; 0 takes the most probable token.
    pub temperature: f64,
    /// Probability that is drawn from.
    pub top_p: f64,
    /// Tokens that are drawn from.
    pub top_k: usize,
    /// Beams.
    pub num_beams: usize,
    /// Tokens of an answer.
    pub max_new_tokens: usize,
    /// Show the answer while it is written.
    pub stream: bool,
}

impl Default for PageDefaults {
    /// Those of alpaca-lora's page, with one beam, so that its sliders count.
    fn default() -> Self {
        Self { temperature: 0.1, top_p: 0.75, top_k: 40, num_beams: 1, max_new_tokens: 128, stream: true }
    }
}
