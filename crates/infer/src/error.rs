//! Failures of generation.

use std::sync::Arc;

use nn_core::{BoxError, CausalLm, NnError};

/// A generation that cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InferError {
    /// A prompt without tokens has no last position to continue from.
    #[error("prompt {index} has no tokens; a prompt needs at least its beginning-of-text token")]
    EmptyPrompt {
        /// Position of the prompt in the batch.
        index: usize,
    },
    /// A setting out of its range.
    #[error("`{name}` is {actual}; it has to be {expected}")]
    Setting {
        /// The field.
        name: &'static str,
        /// Its value.
        actual: f64,
        /// Accepted values.
        expected: &'static str,
    },
    /// A prompt that leaves no room for an answer.
    #[error("the prompt has {tokens} tokens; with at least one of an answer, {capacity} have room")]
    PromptTooLong {
        /// Tokens of the prompt.
        tokens: usize,
        /// Tokens of one row.
        capacity: usize,
    },
    /// More rows than are free now, or than there are at all.
    #[error("the request needs {needed} rows; {free} of {rows} are free")]
    NoRoom {
        /// Rows it needs: one for each beam.
        needed: usize,
        /// Rows that are free.
        free: usize,
        /// Rows of the session.
        rows: usize,
    },
    /// A text without anything to predict has no perplexity.
    #[error("perplexity needs at least one token to predict; the texts have none")]
    NothingToPredict,
    /// Scores that are NaN or infinite: of a model with such a weight, or of one that overflowed.
    #[error("the model computes NaN or infinity: {}", not_finite_text(weight.as_deref()))]
    NotFinite {
        /// First weight that holds NaN or infinity, where one does.
        weight: Option<String>,
    },
    /// The tokenizer could not give the text of tokens.
    #[error("cannot turn token ids into text")]
    Decode(#[source] BoxError),
    /// The model failed while several texts were being continued.
    #[error("the model failed")]
    Pass(#[source] Arc<NnError>),
    /// The model failed.
    #[error(transparent)]
    Model(#[from] NnError),
}

impl From<nn_core::TorchFailure> for InferError {
    fn from(failure: nn_core::TorchFailure) -> Self {
        Self::Model(failure.into())
    }
}

fn not_finite_text(weight: Option<&str>) -> String {
    match weight {
        Some(name) => {
            format!(
                "not all values of `{name}` are finite as they were loaded; the file is damaged, or the precision too narrow"
            )
        }
        None => "all weights are finite; try float32 or bfloat16 if it runs in float16".to_owned(),
    }
}

impl InferError {
    /// Makes the failure of `model`, whose scores are not finite, after a search for the weight at fault.
    pub fn not_finite(model: &dyn CausalLm) -> Self {
        match model.first_not_finite() {
            Ok(weight) => Self::NotFinite { weight },
            Err(error) => Self::Model(error),
        }
    }
}
