//! Configuration of a server.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

/// Address, key, limits and page of a server.
#[derive(Debug, Clone, PartialEq)]
pub struct ServeConfig {
    /// Address to listen on; port 0 takes a free one.
    pub address: SocketAddr,
    /// Key that clients send as `Authorization: Bearer …`; `None` asks for none.
    pub api_key: Option<String>,
    /// Limits of requests.
    pub limits: Limits,
    /// Initial values of the page's controls.
    pub page: PageDefaults,
}

/// Limits. Requests beyond them are refused with 413 or 429 and a reason.
#[derive(Debug, Clone, PartialEq)]
pub struct Limits {
    /// Sequences of a source decoded together; a beam counts as one.
    pub rows: usize,
    /// Requests of a source that may be queued.
    pub queue_len: usize,
    /// Tokens of a prompt.
    pub prompt_tokens: usize,
    /// Tokens of an answer.
    pub new_tokens: usize,
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Time a request may be queued.
    pub queue_time: Duration,
    /// Time an answer may take after that; then it ends as if it had reached its length.
    pub answer_time: Duration,
    /// Time of a request's head, in all, from the connection's beginning or the answer before; time a client may pause
    /// within a request's body, or read nothing of what is sent to it.
    pub idle_time: Duration,
    /// Least rate at which a request's body has to come, in bytes a second, after `idle_time`.
    pub body_bytes_per_s: usize,
    /// Connections at once. A new one takes the place of the one that has been idle for the longest time, or waits.
    pub connections: usize,
    /// Connections of one address at once (of IPv6, of one network of 64 bits), fewer than `connections` so that others have
    /// room. A new one takes the place of the address' oldest idle one, or is closed.
    pub connections_per_address: usize,
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
            body_bytes_per_s: 8192,
            connections: 1024,
            connections_per_address: 768,
        }
    }
}

/// Initial values of the page's controls.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PageDefaults {
    /// Temperature; 0 takes the most probable token.
    pub temperature: f64,
    /// Nucleus sampling: probability of the tokens drawn from.
    pub top_p: f64,
    /// Number of tokens drawn from.
    pub top_k: usize,
    /// Beams.
    pub num_beams: usize,
    /// Tokens of an answer.
    pub max_new_tokens: usize,
    /// Show the answer while it is written.
    pub stream: bool,
}

impl Default for PageDefaults {
    /// Returns the values of alpaca-lora's page, with one beam: with more, its sampling controls would have no effect.
    fn default() -> Self {
        Self { temperature: 0.1, top_p: 0.75, top_k: 40, num_beams: 1, max_new_tokens: 128, stream: true }
    }
}
