//! Failures of adapters.

use std::path::PathBuf;

use nn_core::{NnError, SettingError};
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
    /// A list of target modules without a name.
    #[error("expected at least one module name")]
    NoTargets,
    /// A variant of LoRA, or another feature of PEFT, that is not supported.
    #[error("`{name}` is set, but this adapter feature is not supported")]
    Variant {
        /// The variant, or PEFT's field that asks for it.
        name: String,
    },
    /// An adapter of a base that is not the one on disk.
    #[error(
        "`init_lora_weights` is `{value}`: {reason}; save the adapter with peft for the original base: `save_pretrained(DIR, \
         path_initial_model_for_weight_conversion=INITIAL_ADAPTER)`"
    )]
    Initial {
        /// The initialisation.
        value: String,
        /// The reason why it cannot be undone here.
        reason: &'static str,
    },
    /// An adapter that was trained over a part of the base, and a base that is quantised.
    #[error(
        "`init_lora_weights` took a part of `{path}` out of the base, which cannot be found in a quantised one; save the adapter \
         with peft for the original base: `save_pretrained(DIR, path_initial_model_for_weight_conversion=INITIAL_ADAPTER)`"
    )]
    InitialOverQuantised {
        /// The layer.
        path: String,
    },
    /// A key of `adapter_config.json` that is not supported, or unknown.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// A variant of LoRA on an embedding.
    #[error("`{name}` is set and `{path}` is an embedding: only plain LoRA of embeddings is supported")]
    OfEmbedding {
        /// PEFT's field.
        name: &'static str,
        /// The embedding.
        path: String,
    },
    /// An embedding and a head of different vocabularies.
    #[error(
        "behind the adapter the embedding has {embedding} rows and the head {head}: it resized one of them without the other"
    )]
    Vocabulary {
        /// Rows of the embedding.
        embedding: i64,
        /// Rows of the head.
        head: i64,
    },
    /// Rows of an embedding that are not there, or of one that is replaced as a whole.
    #[error("`trainable_token_indices` of `{path}` do not go with the embedding, which has {rows} rows")]
    TokenRows {
        /// The file.
        path: PathBuf,
        /// Rows of the embedding.
        rows: i64,
    },
    /// Several adapters in one directory.
    #[error("`{dir}` holds several adapters: {found}; name one of them")]
    SeveralAdapters {
        /// The directory.
        dir: PathBuf,
        /// Its folders with an adapter.
        found: String,
    },
    /// A tensor of an adapter for a bias that the model does not have.
    #[error("the adapter has a bias for `{path}`, which has none in this model")]
    NoBias {
        /// The layer.
        path: String,
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
        source: Box<fancy_regex::Error>,
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
    /// A copy of a base's weight beside the factors that is not what this base has.
    #[error(
        "`{path}` holds `{name}`, which is not the weight of this base: it was trained or resized; keep it with \
         --modules_to_save, or start over the base that it is of"
    )]
    OtherBase {
        /// The file.
        path: PathBuf,
        /// The tensor's name in it.
        name: String,
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
