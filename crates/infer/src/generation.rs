//! What a generation gives.

/// Why a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model wrote an end token.
    Eos,
    /// The text came to a stop string.
    Stop,
    /// `max_new_tokens` were written, or the room was full.
    Length,
    /// The caller wanted no more.
    Cancelled,
}

/// A continuation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// The new tokens, without the end token. At a stop string, up to the token that completed it.
    pub ids: Vec<i64>,
    /// Their text; it ends before a stop string.
    pub text: String,
    /// Why it ended.
    pub finish: FinishReason,
}
