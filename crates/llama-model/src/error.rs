//! Failures of loading a model.

use std::path::PathBuf;

use nn_core::{NnError, SettingError};

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
        field: String,
        /// Its value.
        actual: String,
        /// Accepted values.
        expected: String,
    },
    /// A key that is not supported, or unknown and set.
    #[error(transparent)]
    Setting(#[from] SettingError),
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
        field: impl Into<String>,
        actual: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self::Config { field: field.into(), actual: actual.into(), expected: expected.into() }
    }
}
