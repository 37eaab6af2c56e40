//! Models that a server answers with.

use std::fmt;
use std::sync::Arc;

use alpaca_data::Templates;
use infer::{BoxError, TokenText};
use nn_core::CausalLm;

/// Tokenizer of a source.
pub trait SourceText: TokenText {
    /// Tokenises a text, after the begin token if `add_bos`.
    ///
    /// # Errors
    /// Whatever stops the tokenizer.
    fn encode(&self, text: &str, add_bos: bool) -> Result<Vec<i64>, BoxError>;

    /// Returns the text of token ids with special tokens as they are spelled.
    ///
    /// # Errors
    /// Whatever stops the tokenizer.
    fn decode_all(&self, ids: &[i64]) -> Result<String, BoxError> {
        self.decode(ids)
    }

    /// Returns the most bytes of text that a token stands for. Longer prompts than the context can hold by it are refused
    /// before they are tokenised.
    fn max_token_bytes(&self) -> usize {
        usize::MAX
    }
}

/// Model under a name.
pub struct Source {
    /// Name that requests use.
    pub name: String,
    /// Description for users: files and precision.
    pub description: String,
    /// Name of the source of the same weights without the adapter, for a comparison of before and after.
    pub adapter_off: Option<String>,
    /// Model.
    pub model: Box<dyn CausalLm + Send>,
    /// Tokenizer of the model.
    pub text: Arc<dyn SourceText>,
    /// Templates for instructions and conversations.
    pub templates: Templates,
    /// Tokens that end an answer.
    pub eos_ids: Vec<i64>,
}

impl fmt::Debug for Source {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}
