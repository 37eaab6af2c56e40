//! What a text generator asks of a model.

use tch::Tensor;

use crate::NnError;

/// A model that continues token sequences.
pub trait CausalLm {
    /// Reads the prompts in one pass and opens a session for continuing them, with room for `max_new_tokens` more in
    /// each. Prompts may differ in length; none may be empty. Returns the session and the logits of the next token,
    /// `[B, V]`, float32.
    ///
    /// # Errors
    /// [`NnError`] when a layer fails or a token id is not in the vocabulary.
    fn prefill<'a>(
        &'a self,
        prompts: &[Vec<i64>],
        max_new_tokens: usize,
    ) -> Result<(Box<dyn DecodeSession + 'a>, Tensor), NnError>;
}

/// Sequences that are being continued, with their keys and values.
pub trait DecodeSession {
    /// Appends one token to each sequence; returns the logits of the next, `[B, V]`, float32.
    ///
    /// # Errors
    /// [`NnError`] when a layer fails or the room is used up.
    fn step(&mut self, next: &[i64]) -> Result<Tensor, NnError>;
}
