//! Failures of loading a model.

use std::path::{Path, PathBuf};

use nn_core::NnError;
use weights::WeightsError;

/// A model that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The configuration file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The configuration file is no LLaMA configuration.
    #[error("`{path}` is not a LLaMA config.json")]
    Parse {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A field has a value this model cannot have.
    #[error("config.json: `{field}` is {actual}, but {expected}")]
    Config {
        /// The field's name.
        field: &'static str,
        /// Its value.
        actual: String,
        /// What it has to be.
        expected: String,
    },
    /// A `params.json` that is not Meta's.
    #[error("`{path}` is not Meta's params.json of a LLaMA model")]
    Params {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        #[source]
        source: serde_json::Error,
    },
    /// A shard between others, or the only one, is not there.
    #[error("`{path}` is missing; the directory should hold {count} of such files")]
    ShardMissing {
        /// The file.
        path: PathBuf,
        /// How many there should be.
        count: usize,
    },
    /// A file states something this model cannot have.
    #[error("`{path}`: `{field}` is {actual}, but {expected}")]
    Metadata {
        /// The file.
        path: PathBuf,
        /// The field's name.
        field: String,
        /// Its value.
        actual: String,
        /// What it has to be.
        expected: String,
    },
    /// Something that a format has no place for.
    #[error("`{field}` is {actual}, but {expected}")]
    Unwritable {
        /// The field or tensor.
        field: String,
        /// Its value.
        actual: String,
        /// Why that cannot be written.
        expected: String,
    },
    /// No shape is known by this name.
    #[error("no preset is called `{name}`; there are {known}")]
    UnknownPreset {
        /// The name that was asked for.
        name: String,
        /// Every name there is.
        known: String,
    },
    /// A layer failed.
    #[error(transparent)]
    Nn(#[from] NnError),
    /// The files of the weights are damaged.
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

impl ModelError {
    /// Names the file that a wrong field comes from, where that is not `config.json`.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::Config { field, actual, expected } => {
                Self::Metadata { path: path.to_owned(), field: field.to_owned(), actual, expected }
            }
            other => other,
        }
    }
}
