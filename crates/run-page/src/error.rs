//! Errors of reading and showing runs.

use std::io;
use std::path::PathBuf;

/// A run that cannot be read or shown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunPageError {
    /// The directory holds no run.
    #[error("`{dir}` holds no run: it has no metrics.jsonl; expected the output_dir of finetune")]
    NoRun {
        /// The directory.
        dir: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("cannot {action} `{path}`")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The disk refused.
    #[error(transparent)]
    Weights(#[from] weights::WeightsError),
    /// The page cannot be served.
    #[error(transparent)]
    Serve(#[from] serve::ServeError),
}
