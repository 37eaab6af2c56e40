//! The result of a generation.

/// Reason for which a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model wrote an end token.
    Eos,
    /// The text reached a stop string.
    Stop,
    /// `max_new_tokens` were generated, or the row is full.
    Length,
    /// The caller cancelled it.
    Cancelled,
}

/// A continuation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// The new tokens, without the end token. At a stop string, up to the token that completed it.
    pub ids: Vec<i64>,
    /// Their text; it ends before a stop string.
    pub text: String,
    /// Reason for which it ended.
    pub finish: FinishReason,
}
