//! What a server answers with.

use std::fmt;
use std::sync::Arc;

use alpaca_data::Templates;
use infer::{BoxError, TokenText};
use nn_core::CausalLm;

/// What the server asks of a tokenizer.
pub trait SourceText: TokenText {
    /// Token ids of a text, after the begin token if `add_bos`.
    ///
    /// # Errors
    /// Whatever stops the tokenizer.
    fn encode(&self, text: &str, add_bos: bool) -> Result<Vec<i64>, BoxError>;
}

/// A model under a name.
pub struct Source {
    /// The name that requests use.
    pub name: String,
    /// What it is made of, for people.
    pub description: String,
    /// The model.
    pub model: Box<dyn CausalLm + Send>,
    /// Its tokenizer.
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
