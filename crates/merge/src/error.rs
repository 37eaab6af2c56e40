//! Failures of merging.

use lora::LoraError;
use nn_core::{NnError, TorchFailure};
use weights::WeightsError;

/// A merge that cannot be done, or whose proof fails.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// Targets whose weights came out as they went in.
    #[error(
        "{count} of {expected} targets are unchanged after rounding to {dtype}, first `{first}` (norm of its delta {norm:e}, of its weight {base_norm:e}): the adapter does nothing there"
    )]
    Unchanged {
        /// Number of unchanged targets.
        count: usize,
        /// Number of targets.
        expected: usize,
        /// Precision of the files.
        dtype: String,
        /// The first of them.
        first: String,
        /// Frobenius norm of its delta.
        norm: f64,
        /// Frobenius norm of its weight.
        base_norm: f64,
    },
    /// A layer that an adapter names and the base does not have.
    #[error(
        "an adapter changes `{name}`, which is not among the tensors of the model: there is no place to merge it into"
    )]
    UnusedDelta {
        /// The tensor.
        name: String,
    },
    /// A weight that is no number.
    #[error("`{name}` holds NaN or infinity {place}")]
    NotFinite {
        /// The tensor.
        name: String,
        /// The place in the merge.
        place: String,
    },
    /// Adapters that cannot be added.
    #[error("combination `{combination}` needs {expected}, but for `{path}` {actual}")]
    Combination {
        /// PEFT's name of the way they are combined.
        combination: &'static str,
        /// The layer.
        path: String,
        /// Its state.
        actual: String,
        /// The rule it breaks.
        expected: &'static str,
    },
    /// A value that cannot be.
    #[error("`{field}` is {actual}, but {expected}")]
    Value {
        /// Its name.
        field: &'static str,
        /// The value.
        actual: String,
        /// The rule it breaks.
        expected: String,
    },
    /// The thread that writes files has ended before its time.
    #[error("the thread that writes the files ended early; run the merge again")]
    Writer,
    /// An adapter cannot be read.
    #[error(transparent)]
    Lora(#[from] LoraError),
    /// A file cannot be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The base cannot give a tensor, or libtorch refused.
    #[error(transparent)]
    Nn(#[from] NnError),
}

impl From<TorchFailure> for MergeError {
    fn from(failure: TorchFailure) -> Self {
        Self::Nn(failure.into())
    }
}
