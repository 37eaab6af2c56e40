//! Failures of loading a model.

use std::path::PathBuf;

use nn_core::NnError;

/// A model that cannot be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The configuration file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// Cause from the system.
        #[source]
        source: std::io::Error,
    },
    /// The configuration file is no LLaMA configuration.
    #[error("`{path}` is not a LLaMA config.json")]
    Parse {
        /// The file.
        path: PathBuf,
        /// Cause from the parser.
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
        /// Accepted values.
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
}

impl ModelError {
    /// Refuses a value of a field of `config.json`.
    pub(crate) fn config(
        field: &'static str,
        actual: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::Config { field, actual: actual.into(), expected: expected.into() }
    }
}
