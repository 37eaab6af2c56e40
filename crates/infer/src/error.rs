//! Failures of generation.

use nn_core::NnError;

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
    /// The model failed.
    #[error(transparent)]
    Model(#[from] NnError),
}

impl From<nn_core::TorchFailure> for InferError {
    fn from(failure: nn_core::TorchFailure) -> Self {
        Self::Model(failure.into())
    }
}
