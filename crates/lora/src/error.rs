//! Failures of adapters.

use std::path::PathBuf;

use nn_core::NnError;
use weights::WeightsError;

/// An adapter that cannot be attached, read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoraError {
    /// A target names no layer of the model.
    #[error("target module `{target}` matches no linear layer of the model, which has {known}")]
    UnknownTarget {
        /// The target as the configuration spells it.
        target: String,
        /// Every leaf name the model shows.
        known: String,
    },
    /// A hyper-parameter has a value it cannot have.
    #[error("`{field}` is {actual}, but {expected}")]
    Config {
        /// PEFT's name of the field.
        field: &'static str,
        /// Its value.
        actual: String,
        /// The rule it breaks.
        expected: &'static str,
    },
    /// A variant of LoRA, or another feature of PEFT, that is not supported.
    #[error("`{name}` is set, but this adapter feature is not supported")]
    Variant {
        /// The variant, or PEFT's field that asks for it.
        name: String,
    },
    /// An adapter that was attached frozen cannot take other values.
    #[error("the adapter is frozen; only one that trains can be restored")]
    Frozen,
    /// A pattern is no regular expression.
    #[error("`{field}` holds `{pattern}`, which is not a regular expression")]
    Pattern {
        /// PEFT's name of the field.
        field: &'static str,
        /// The pattern.
        pattern: String,
        /// Error of the regex engine.
        #[source]
        source: Box<regex::Error>,
    },
    /// A file cannot be read or written.
    #[error("cannot access `{path}`")]
    Io {
        /// The file.
        path: PathBuf,
        /// Error of the system.
        #[source]
        source: std::io::Error,
    },
    /// `adapter_config.json` is not one.
    #[error("`{path}` is not a PEFT adapter_config.json")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Error of the parser.
        #[source]
        source: serde_json::Error,
    },
    /// The file lacks tensors the configuration asks for.
    #[error("`{path}` lacks {count} of the adapter's {expected} tensors, first `{first}`")]
    MissingKeys {
        /// The file.
        path: PathBuf,
        /// Number of missing tensors.
        count: usize,
        /// Number of tensors of the adapter.
        expected: usize,
        /// The first of them.
        first: String,
    },
    /// The file holds tensors that no layer takes.
    #[error("`{path}` holds {count} tensors that no layer of this model takes, first `{first}`")]
    UnusedKeys {
        /// The file.
        path: PathBuf,
        /// Number of them.
        count: usize,
        /// The first of them.
        first: String,
    },
    /// A tensor has another shape than its layer.
    #[error("`{name}` has shape {actual:?}, but its layer asks for {expected:?}")]
    Shape {
        /// The tensor's name in the file.
        name: String,
        /// Its shape there.
        actual: Vec<i64>,
        /// The shape that fits.
        expected: Vec<i64>,
    },
    /// A factor with a value that is no number.
    #[error("`{name}` in `{path}` holds NaN or infinity")]
    NotFinite {
        /// The file.
        path: PathBuf,
        /// The tensor's name in it.
        name: String,
    },
    /// A saved adapter that does nothing.
    #[error(
        "{count} of {expected} lora_B tensors in `{path}` are all zero, first `{first}`: nothing was learnt there"
    )]
    ZeroB {
        /// The file.
        path: PathBuf,
        /// Number of tensors that are zero.
        count: usize,
        /// Number of them.
        expected: usize,
        /// The first of them.
        first: String,
    },
    /// The adapter's weights cannot be read or written.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// A layer failed.
    #[error(transparent)]
    Nn(#[from] NnError),
}

impl From<nn_core::TorchFailure> for LoraError {
    fn from(failure: nn_core::TorchFailure) -> Self {
        Self::Nn(failure.into())
    }
}
