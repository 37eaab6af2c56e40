//! Failures of layers.

use tch::TchError;

/// A libtorch operation that failed, without the C++ back-trace libtorch puts behind its message.
#[derive(Debug, thiserror::Error)]
#[error("libtorch failed in `{op}`: {message}")]
pub struct TorchFailure {
    /// The operation, as the Rust method is called.
    pub op: &'static str,
    /// First line of libtorch's message.
    pub message: String,
}

impl TorchFailure {
    /// Keeps what a person can use of a libtorch error.
    pub fn new(op: &'static str, source: &TchError) -> Self {
        let text = match source {
            TchError::Torch(text) => text.clone(),
            other => other.to_string(),
        };
        let message = text.lines().next().unwrap_or_default().trim().to_owned();
        Self { op, message }
    }
}

/// A failure of one layer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NnError {
    /// A tensor does not have the shape its place in the model asks for.
    #[error("`{name}` has shape {actual:?}, but the configuration asks for {expected:?}")]
    Shape {
        /// The tensor's name in the checkpoint.
        name: String,
        /// The shape the checkpoint holds.
        actual: Vec<i64>,
        /// The shape the configuration asks for.
        expected: Vec<i64>,
    },
    /// A batch whose parts do not fit each other.
    #[error(
        "batch has {tokens} token ids, {labels} labels and sequences that add up to {in_sequences} tokens"
    )]
    Batch {
        /// Number of token ids.
        tokens: usize,
        /// Number of labels.
        labels: usize,
        /// Sum of the sequence lengths.
        in_sequences: usize,
    },
    /// The store behind a [`crate::LinearSource`] could not give a tensor.
    #[error("cannot load `{name}`")]
    Source {
        /// The tensor's name in the checkpoint.
        name: String,
        /// Cause from the store.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A token id the vocabulary does not have.
    #[error("token id {id} is outside the vocabulary of {vocab_size}")]
    TokenId {
        /// The id in the batch.
        id: i64,
        /// Entries of the embedding.
        vocab_size: i64,
    },
    /// A row that a decoding session does not have, or that was named twice.
    #[error("no row {row} for this use in a session of {rows} rows")]
    Row {
        /// The row asked for.
        row: usize,
        /// Rows of the session.
        rows: usize,
    },
    /// A sequence that is empty, or longer than its row.
    #[error("row {row} would hold {tokens} tokens; it has room for 1 to {capacity}")]
    Room {
        /// The row.
        row: usize,
        /// Tokens it would hold.
        tokens: usize,
        /// Tokens it can hold.
        capacity: usize,
    },
    /// An extension to libtorch failed.
    #[error("cannot run the model")]
    Extension(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// libtorch refused an operation.
    #[error(transparent)]
    Torch(#[from] TorchFailure),
}

/// Names the libtorch operation a failure came from: `xs.f_matmul(&w).op("matmul")?`.
pub trait TorchContext<T> {
    /// Turns a raw libtorch failure into a [`TorchFailure`] with `op` as its name.
    ///
    /// # Errors
    /// [`TorchFailure`] when `self` is an error.
    fn op(self, op: &'static str) -> Result<T, TorchFailure>;
}

impl<T> TorchContext<T> for Result<T, TchError> {
    fn op(self, op: &'static str) -> Result<T, TorchFailure> {
        self.map_err(|source| TorchFailure::new(op, &source))
    }
}
