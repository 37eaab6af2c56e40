//! Models that continue token sequences.

use tch::Tensor;

use crate::NnError;

/// A model that continues token sequences.
pub trait CausalLm {
    /// Returns the number of entries of the vocabulary, `V`.
    fn vocab_size(&self) -> usize;

    /// Returns the context the model was trained for, in tokens.
    fn max_len(&self) -> usize;

    /// Finds the first weight that holds NaN or infinity, by its name in the checkpoint; `None` where all are finite, or where the
    /// model cannot tell. Asked once logits are not finite, since it may read every weight.
    ///
    /// # Errors
    /// [`NnError`] when a layer fails.
    fn first_not_finite(&self) -> Result<Option<String>, NnError> {
        Ok(None)
    }

    /// Opens room for `rows` sequences of at most `capacity` tokens each: the memory of keys and values is allocated
    /// here, and does not grow afterwards.
    ///
    /// # Errors
    /// [`NnError`] when there is not that much memory.
    fn open(&self, rows: usize, capacity: usize) -> Result<Box<dyn DecodeSession + '_>, NnError>;
}

/// Sequences that are being continued, with their keys and values. A row is empty until it is prefilled.
pub trait DecodeSession {
    /// Reads prompts into rows in one pass, each row starting anew; returns the logits of the next tokens, `[n, V]`,
    /// float32, in the order given. Prompts may differ in length; none may be empty, and no row may be named twice.
    ///
    /// # Errors
    /// [`NnError`] when there is no such row, a prompt does not fit, a token id is not in the vocabulary, or a layer
    /// fails. The rows are as they were before, or empty.
    fn prefill(&mut self, prompts: &[(usize, &[i64])]) -> Result<Tensor, NnError>;

    /// Reads a prompt into a row as [`DecodeSession::prefill`] does, and gives `each` the logits at all its positions, in
    /// order, at most `positions` at a time: `[n, V]`, float32. Returns those at the last, `[1, V]`.
    ///
    /// # Errors
    /// Those of [`DecodeSession::prefill`], and what `each` fails with.
    fn prefill_all(
        &mut self,
        row: usize,
        prompt: &[i64],
        positions: usize,
        each: &mut dyn FnMut(&Tensor) -> Result<(), NnError>,
    ) -> Result<Tensor, NnError> {
        // One token after another: correct for every session, and slow.
        let _ = positions;
        let mut logits = self.prefill(&[(row, &prompt[..prompt.len().min(1)])])?;
        each(&logits)?;
        for &id in prompt.iter().skip(1) {
            logits = self.step(&[(row, id)])?;
            each(&logits)?;
        }
        Ok(logits)
    }

    /// Appends one token to each of the given rows; returns the logits of the next, `[n, V]`, float32, in the order
    /// given. Rows `0..n` in order are read where they lie; any other choice is copied first.
    ///
    /// # Errors
    /// The same as of [`DecodeSession::prefill`].
    fn step(&mut self, tokens: &[(usize, i64)]) -> Result<Tensor, NnError>;

    /// Makes row `i` a copy of row `parents[i]`, for all `i` at once (beam search); rows from `parents.len()` on are
    /// left alone.
    ///
    /// # Errors
    /// [`NnError`] when there is no such row or libtorch fails.
    fn select(&mut self, parents: &[usize]) -> Result<(), NnError>;

    /// Moves row `from` to row `to`; `from` is empty afterwards (compaction in continuous batching).
    ///
    /// # Errors
    /// The same as of [`DecodeSession::select`].
    fn move_row(&mut self, from: usize, to: usize) -> Result<(), NnError>;

    /// Returns the number of tokens in a row; 0 when there is no such row.
    fn len(&self, row: usize) -> usize;
}
